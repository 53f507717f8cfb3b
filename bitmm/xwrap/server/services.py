"""The parts of one server, put together, and the threads in which its calls wait."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter, WouldBlock, fail_after
from starlette.requests import Request

from ..exchanges.paper import PACKED_PRICES, Paper, PaperConfig, Prices, PricesError
from .auth import Authenticator
from .db.records import Account, Registration
from .db.store import Store
from .execution import ExecutionService
from .params import Params
from .problems import Problem
from .rate_limiter import RateLimiter
from .rates import Rates
from .reconciliation import Reconciler
from .registry import ExchangeRegistry
from .settings import Settings, SettingsError
from .vault import Vault, VaultError

__all__ = ["Call", "Services", "create_services"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    """One server: its data, its exchanges, its threads."""

    settings: Settings
    store: Store
    registry: ExchangeRegistry
    authenticator: Authenticator
    execution: ExecutionService
    reconciler: Reconciler
    rates: Rates
    outbound: CapacityLimiter
    urgent: CapacityLimiter
    database: CapacityLimiter
    #: As many as the limiters let in.
    threads: ThreadPoolExecutor

    async def run(self, limiter: CapacityLimiter, function: Callable[..., T], *args: Any) -> T:
        """Run `function` in a thread. Raises Problem 503, before it ran, when no thread is free for some seconds."""
        borrower = object()
        try:
            limiter.acquire_on_behalf_of_nowait(borrower)
        except WouldBlock:
            await self._wait(limiter, borrower)
        try:
            # anyio's to_thread takes three times as long for this hop (measured 2026-11-26 with 4.12).
            return await get_running_loop().run_in_executor(self.threads, function, *args)
        finally:
            limiter.release_on_behalf_of(borrower)

    async def _wait(self, limiter: CapacityLimiter, borrower: object) -> None:
        try:
            with fail_after(self.settings.queue_seconds):
                await limiter.acquire_on_behalf_of(borrower)
        except TimeoutError:
            raise Problem(
                503,
                "server_busy",
                "too many calls at once; this call sent nothing",
                retryable=True,
                headers={"Retry-After": "1"},
            ) from None

    def close(self) -> None:
        """Stop the reconciler and close every connection; a call that still waits for an exchange is left behind."""
        self.reconciler.stop()
        self.threads.shutdown(wait=False)
        self.registry.close()
        self.store.close()


def create_services(settings: Settings) -> tuple[Services, bool]:
    """Open the data folder, or make it; True: the master key was made now.

    Raises SetupError (in one line) or OSError when something cannot be used.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(settings.database)
    store.prepare()
    vault, made = _open_vault(settings, store)
    paper = PaperConfig(_prices(settings), settings.paper_funds, store.paper_ledger)
    limiter = RateLimiter(store.counters, settings.queue_seconds)
    registry = ExchangeRegistry(settings, vault, limiter, {"paper": partial(Paper, config=paper)})
    services = Services(
        settings=settings,
        store=store,
        registry=registry,
        authenticator=Authenticator(store.accounts, settings.credential_cache_seconds),
        execution=ExecutionService(store, registry),
        reconciler=Reconciler(store, registry, every=settings.settle_seconds, grace=settings.settle_grace_seconds),
        rates=Rates(registry, settings.rate_seconds, settings.rate_cache_seconds),
        outbound=CapacityLimiter(settings.outbound_threads),
        urgent=CapacityLimiter(settings.urgent_threads),
        database=CapacityLimiter(settings.database_threads),
        threads=ThreadPoolExecutor(
            settings.outbound_threads + settings.urgent_threads + settings.database_threads, "xwrap-call"
        ),
    )
    services.reconciler.start()
    return services, made


def _prices(settings: Settings) -> Prices:
    try:
        return Prices.load(settings.paper_prices or PACKED_PRICES)
    except PricesError as error:
        raise SettingsError(f"{error}; see XWRAP_PAPER_PRICES") from None


def _open_vault(settings: Settings, store: Store) -> tuple[Vault, bool]:
    path = settings.master_key_file
    made = not path.exists()
    if made and store.check_value() is not None:
        raise VaultError(
            f"the master key {path} is missing; put it back, the exchange keys cannot be opened without it"
        )
    vault = Vault.create(path) if made else Vault.load(path)
    if sealed := store.check_value(vault.check_value):
        vault.check(sealed)
    return vault, made


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an account, on its way through a view."""

    services: Services
    account: Account
    request: Request
    params: Params

    def registration(self) -> Registration:
        """The registration that the address names. Raises Problem 404, the same for another account's and for none."""
        if self.account.registration is None:
            raise Problem(404, "not_found", "no such exchange registration")
        return self.account.registration

    def number(self, name: str) -> int:
        """An id in the address; 0, which nothing has, for anything but its one spelling."""
        return number_in(self.request, name)

    def key(self) -> str | None:
        """The Idempotency-Key of this call. Raises Problem 422 for one that is empty, too long or not printable
        ASCII.
        """
        key: str | None = self.request.headers.get("idempotency-key")
        if key is not None:
            check_key(key, "Idempotency-Key")
        return key


def number_in(request: Request, name: str) -> int:
    """An id in the address of a request; 0 when it has none, or another spelling than the one."""
    text: str = request.path_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 and text[0] != "0" else 0


def check_key(key: str, name: str) -> None:
    """Raises Problem 422 for a key that is empty, too long or not printable ASCII."""
    if not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise Problem(422, "invalid_request", f"'{name}' must be 1 to 255 printable ASCII characters", field=name)
