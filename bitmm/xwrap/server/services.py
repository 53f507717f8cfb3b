"""The parts of one server, put together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from .. import __version__
from .amendments import Amendments
from .auth import Authenticator
from .batches import BatchService
from .client_ids import ClientIds
from .db.errors import UNUSABLE, driver_message
from .db.files import make_private_folder
from .db.store import Store
from .db.tables import REVISION
from .deadman import DeadMansSwitch
from .descriptors import most_connections
from .execution import ExecutionService
from .follower import Follower
from .intents import Intents
from .login_failures import LoginFailures
from .metrics import Metrics
from .missing_history import MissingHistory
from .notices import Notifier, open_notifier
from .old_refusals import OldRefusals
from .order_changes import OrderChanges
from .paper import PaperFactory, PaperLooks, create_paper, looks_of, open_public, paper_config, paper_kind
from .policy import Policy
from .quotas import Quotas
from .rate_changes import RateChanges
from .rate_limiter import RateLimiter
from .rates import Rates
from .reconciliation import Reconciler
from .registry import ExchangeRegistry
from .repeats import Repeats
from .settings import Settings
from .shares import KnownCallers
from .threads import ThreadPools
from .vault import Vault, VaultError
from .worth import DailyWorth

__all__ = ["Services", "create_services"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one server: its data, its exchanges, its threads."""

    settings: Settings
    metrics: Metrics
    store: Store
    registry: ExchangeRegistry
    quotas: Quotas
    authenticator: Authenticator
    login_failures: LoginFailures
    execution: ExecutionService
    batches: BatchService
    amendments: Amendments
    reconciler: Reconciler
    follower: Follower
    deadman: DeadMansSwitch
    old_refusals: OldRefusals
    #: None: no receiver is set.
    notifier: Notifier | None
    #: None: the prices on paper are recorded ones, which nobody has to look at.
    paper_looks: PaperLooks | None
    daily_worth: DailyWorth
    order_changes: OrderChanges
    rates: Rates
    rate_changes: RateChanges
    threads: ThreadPools
    callers: KnownCallers

    def start(self) -> None:
        """Start the work that goes on by itself. Raises SetupError when the system gives too few threads."""
        self.reconciler.start()
        self.follower.start()
        self.deadman.start()
        self.old_refusals.start()
        if self.paper_looks is not None:
            self.paper_looks.start()
        self.daily_worth.start()
        self.login_failures.start()
        if self.notifier is not None:
            self.notifier.start()

    def stop_waiting(self) -> None:
        """Let the calls that wait for news be answered now; in the event loop."""
        self.order_changes.stop()
        self.rate_changes.stop()

    def close(self) -> None:
        """Stop the threads of the server and close every connection; a call that still waits for an exchange is left
        behind.
        """
        self.reconciler.stop()
        self.follower.stop()
        self.deadman.stop()
        self.old_refusals.stop()
        if self.paper_looks is not None:
            self.paper_looks.stop()
        self.daily_worth.stop()
        self.login_failures.stop()
        if self.notifier is not None:
            self.notifier.stop()
        self.threads.close()
        self.registry.close()
        self.store.close()


def create_services(
    settings: Settings, stop: Callable[[str], None], report: Callable[[str], None], paper: PaperFactory = create_paper
) -> Services:
    """Return the services on the data folder, which is made when there is none.

    `stop` is called with a line when the server must not go on, because its data base file was removed or replaced, and
    `report` with a line for the administrator when the data base is migrated or a master key was made. `paper`: a test
    may have another clock and other prices on paper. Raises SetupError (in one line) or OSError when something cannot
    be used.
    """
    make_private_folder(settings.data)
    store = Store(settings.database, call_seconds=settings.call_seconds, notices=settings.notice_url is not None)
    with ExitStack() as on_failure:
        on_failure.callback(store.close)
        store.check()
        if settings.workers > 1:
            store.share_connections(settings.workers)
        if store.revision() not in {None, REVISION}:
            report("The data base is brought to this version; for a million orders that takes half a minute")
        store.prepare()
        store.open_history(settings.state_file, stop)
        threads = ThreadPools(settings)
        on_failure.callback(threads.close)
        services = _create(settings, store, threads, report, paper)
        on_failure.pop_all()
        on_failure.callback(services.close)
        services.start()
        on_failure.pop_all()
        return services


def _create(
    settings: Settings, store: Store, threads: ThreadPools, report: Callable[[str], None], paper: PaperFactory
) -> Services:
    vault = _open_vault(settings, store, report)
    config = paper_config(settings, store, lambda id: open_public(registry, id))
    limiter = RateLimiter(store.counters, settings.queue_seconds)
    metrics = Metrics()
    factories, kinds = {"paper": paper(config)}, {"paper": paper_kind(config)}
    registry = ExchangeRegistry(settings, vault, limiter, store.registrations, store.notices, factories, metrics, kinds)
    client_ids = ClientIds(vault.client_id_secret)
    missing_history = MissingHistory(
        store, registry, client_ids, arrival_seconds=settings.call_seconds + settings.reconcile_grace_seconds
    )
    quotas = Quotas(
        store,
        registrations=settings.registration_quota,
        orders=settings.order_quota,
        credentials=settings.credential_quota,
        addresses=settings.address_quota,
    )
    policy = Policy(store, quotas)
    intents = Intents(store, policy, client_ids, missing_history, metrics)
    repeats = Repeats(store, registry)
    execution = ExecutionService(store, registry, policy, intents, repeats, missing_history)
    login_failures = LoginFailures(store)
    connections = most_connections(settings)
    order_changes = OrderChanges(store, threads, connections)
    rates = Rates(registry, threads, settings.rate_seconds, settings.rate_cache_seconds)
    services = Services(
        settings=settings,
        metrics=metrics,
        store=store,
        registry=registry,
        quotas=quotas,
        authenticator=Authenticator(store, threads, login_failures, settings.credential_cache_seconds),
        login_failures=login_failures,
        execution=execution,
        batches=BatchService(store, registry, policy, intents, repeats),
        amendments=Amendments(store, registry, policy, intents, repeats),
        reconciler=Reconciler(
            store,
            registry,
            metrics,
            every=settings.reconcile_seconds,
            grace=settings.reconcile_grace_seconds,
            call_seconds=settings.call_seconds,
        ),
        follower=Follower(store, registry, order_changes.awaited, every=settings.reconcile_seconds),
        deadman=DeadMansSwitch(
            store, registry, execution, every=settings.reconcile_seconds, call_seconds=settings.call_seconds
        ),
        old_refusals=OldRefusals(store),
        notifier=open_notifier(settings, store),
        paper_looks=looks_of(settings, store, registry, config),
        daily_worth=DailyWorth(store, registry),
        order_changes=order_changes,
        rates=rates,
        rate_changes=RateChanges(connections),
        threads=threads,
        callers=KnownCallers(),
    )
    _audit_start(settings, store)
    return services


def _audit_start(settings: Settings, store: Store) -> None:
    """Write with which settings the server starts. It starts, too, when that cannot be written: cancels must pass."""
    try:
        store.audit.add("server", "server.start", f"bitmm {__version__}", settings.changed())
    except UNUSABLE as error:
        _log.error("the start could not be written into the audit: %s", driver_message(error))


def _open_vault(settings: Settings, store: Store, report: Callable[[str], None]) -> Vault:
    """Return the vault; a master key that is new is reported. Raises VaultError when it is not the data base's own."""
    path = settings.master_key_file
    made = not (path.exists() or path.is_symlink())
    if made and store.sealed.check_value() is not None:
        raise VaultError(
            f"the master key {path} is missing; the exchange keys cannot be opened without it: put it back from your "
            f"copy: cp COPY {path}"
        )
    vault = (Vault.create if made else Vault.load)(path, store.sealed.shared_check_value)
    if made:
        # At once: when the rest of the start fails, the next start finds the key and has nothing to report.
        report(f"A master key was made: {path} - keep a copy of it apart from the data base")
    if sealed := store.sealed.check_value(vault.check_value):
        vault.check(sealed)
    return vault
