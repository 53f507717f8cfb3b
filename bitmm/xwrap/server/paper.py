"""The paper exchange of a server: where its prices come from, and who looks at them when nobody asks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from ..exchanges import load
from ..exchanges.base import Exchange, ExchangeContext
from ..exchanges.capabilities import supports
from ..exchanges.errors import ExchangeError, Refused
from ..exchanges.paper import (
    PACKED_PRICES,
    LivePrices,
    Paper,
    PaperConfig,
    PaperExchange,
    Prices,
    PricesError,
    live_paper,
)
from .db.store import Store
from .exchange_names import nearest_names
from .market_reads import MOST_LEVELS, read_fresh_book
from .problems import Problem, log_failure
from .rate_limiter import Priority
from .registry import ExchangeRegistry
from .rounds import Rounds
from .settings import Settings, SettingsError

__all__ = ["PaperFactory", "PaperLooks", "create_paper", "looks_of", "open_public", "paper_config", "paper_kind"]

_log = logging.getLogger(__name__)

#: What part of the calls that need no login the looks may make which nobody asked for.
_SHARE = 0.5

#: Returns what makes the paper exchange of this configuration for a context.
PaperFactory = Callable[[PaperConfig], Callable[[ExchangeContext], Exchange]]


def create_paper(config: PaperConfig) -> Callable[[ExchangeContext], Exchange]:
    """Return what makes the paper exchange as it is shipped."""
    return partial(paper_kind(config), config=config)


def paper_kind(config: PaperConfig) -> type[PaperExchange]:
    """Return the class of the paper exchange: at the recorded prices, or at those of another exchange now."""
    # Each class is hashable; mypy looks at the `__hash__` of its instances.
    return Paper if config.live is None else live_paper(config.live.kind)  # type: ignore[arg-type]


def paper_config(
    settings: Settings, store: Store, open_source: Callable[[str], AbstractContextManager[Exchange]]
) -> PaperConfig:
    """Return what the paper exchange is made with. Raises SettingsError for prices that cannot be used.

    `open_source` opens an exchange, by its id, for calls that need no key.
    """
    given = settings.paper_prices
    if isinstance(given, str):
        kind = _source_kind(settings, given)
        read_book = partial(read_fresh_book, depth=MOST_LEVELS)
        live = LivePrices(kind, partial(open_source, given), read_book, seconds=settings.paper_look_seconds)
        prices = Prices.load()
    else:
        live, prices = None, _load_prices(settings, given or PACKED_PRICES)
    most_open = settings.open_order_quota
    return PaperConfig(prices, settings.paper_funds, store.paper_ledger, live=live, most_open=most_open)


@contextmanager
def open_public(registry: ExchangeRegistry, id: str) -> Iterator[Exchange]:
    """Give an exchange without a key, whose calls count as those of callers who are not logged in.

    Raises Refused when too many calls wait for it.
    """
    try:
        with registry.exchange(id, priority=Priority.ANONYMOUS) as exchange:
            yield exchange
    except Problem as problem:
        raise Refused(str(problem), code=problem.code, retryable=problem.body["retryable"]) from problem


class PaperLooks:
    """Looks at the markets in which orders on paper are open, one after the other, and fills what is reached.

    Recorded prices need none of that: what happened in the minutes between is known.
    """

    def __init__(self, store: Store, registry: ExchangeRegistry, prices: LivePrices, *, every: float) -> None:
        """`every`: seconds between two looks."""
        self._store = store
        self._registry = registry
        self._prices = prices
        #: When each market was looked at.
        self._looked: dict[tuple[str, str], float] = {}
        self._rounds = Rounds("paper", {"looks": self.look}, lambda: every)

    def start(self) -> None:
        """Start the thread."""
        self._rounds.start()

    def stop(self) -> None:
        """Stop the thread; a look that is under way is not waited for longer than a second."""
        self._rounds.stop()

    def look(self) -> None:
        """Look at the market that was not looked at for the longest time, and fill the orders that it reaches."""
        open_in: dict[tuple[str, str], list[int]] = {}
        for row in self._store.open_paper_markets():
            open_in.setdefault((row["currency"], row["asset"]), []).append(row["registration_id"])
        self._looked = {pair: self._looked.get(pair, 0.0) for pair in open_in}
        if not open_in:
            return
        pair = min(self._looked, key=self._looked.__getitem__)
        self._looked[pair] = time.monotonic()
        with suppress(ExchangeError):
            # The orders say why they wait. Those whose time is over end all the same.
            self._prices.look(*pair)
        for registration in open_in[pair]:
            if not self._rounds.stopping.is_set():
                self._fill(registration)

    def _fill(self, id: int) -> None:
        """Let the paper exchange fill the orders of a registration that are due, which it does before each read."""
        try:
            registration = self._store.registrations.get(id)
            if registration is not None:
                with self._registry.open(registration) as paper:
                    paper.funds()
        except Exception as error:
            log_failure(_log, error, f"the open orders on paper of registration {id} cannot be looked at")


def looks_of(settings: Settings, store: Store, registry: ExchangeRegistry, config: PaperConfig) -> PaperLooks | None:
    """Return who looks at live prices; None where the server has no paper exchange, or its prices are recorded."""
    if config.live is None or not isinstance(settings.paper_prices, str) or "paper" not in settings.exchanges:
        return None
    refill = registry.anonymous_limit(settings.paper_prices).refill
    every = max(1 / (refill * _SHARE), min(config.live.seconds, 1.0))
    # All workers together make no more looks than one process.
    return PaperLooks(store, registry, config.live, every=every * settings.workers)


def _source_kind(settings: Settings, id: str) -> type[Exchange]:
    """Return the class of the exchange at whose prices paper is to trade. Raises SettingsError."""
    if id == "paper" or id not in settings.exchanges:
        why = "which has no prices of its own" if id == "paper" else "which is not offered; add it to XWRAP_EXCHANGES"
        raise SettingsError(f"XWRAP_PAPER_PRICES names '{id}', {why}")
    try:
        kind = load(id)
    except KeyError:
        raise SettingsError(f"XWRAP_PAPER_PRICES: {nearest_names(id, ())}") from None
    except ExchangeError as error:
        raise SettingsError(f"XWRAP_PAPER_PRICES names '{id}': {error}") from None
    if not {"order_book", "markets"} <= set(supports(kind)):
        raise SettingsError(f"XWRAP_PAPER_PRICES names '{id}', which tells no order books, or not what is traded there")
    return kind


def _load_prices(settings: Settings, path: Path) -> Prices:
    try:
        return Prices.load(path)
    except PricesError as error:
        offered = [id for id in settings.exchanges if id != "paper"]
        near = get_close_matches(str(path), offered, 1)
        meant = f"did you mean {near[0]}?" if near else f"exchanges that are offered are {', '.join(offered) or 'none'}"
        raise SettingsError(f"{error}; XWRAP_PAPER_PRICES is such a file or an exchange; {meant}") from None
