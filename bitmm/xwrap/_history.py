"""The calls of one registration whose answers have no end of their own: they are read page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from . import _arguments as arguments
from . import _history_parsing as history_parsing
from . import _parsing as parsing
from ._records import whole_number
from ._registration import RegistrationCalls

if TYPE_CHECKING:
    from .types import Deposit, Fill, LedgerEntry, Order, Withdrawal

__all__ = ["HistoryCalls"]

_R = TypeVar("_R", bound=Mapping[str, object])

#: The most rows that the server tells at once.
_PAGE = 500
#: What asks for pages where the answer is a list else.
_PAGED = {"paged": "true"}


class HistoryCalls(RegistrationCalls):
    """Histories, most of them as generators. What comes while one is read is not in it, or is at its beginning; nothing
    is left out.

    A generator asks for a page when the rows of the one before are used up, and raises then what the call may raise.
    """

    def all_orders(self, status: str = "all") -> Iterator[Order]:
        """Yield all orders that were placed through this registration, newest first: "all", or the "closed" ones.

        Open ones change while they are read: `orders("open")` has those of one moment.
        """
        query = {"status": arguments.history_status(status)}
        return self._read_pages("orders/", parsing.orders, query)

    def all_withdrawals(self) -> Iterator[Withdrawal]:
        """Yield everything that was sent through this registration, newest first."""
        return self._read_pages("withdrawals/", parsing.withdrawals, {})

    def fills(self, currency: str, asset: str) -> list[Fill]:
        """Return the latest executions of one pair, newest first."""
        return self._get("fills", parsing.fills, {"currency": currency, "asset": asset})

    def all_fills(self, currency: str, asset: str) -> Iterator[Fill]:
        """Yield all executions of one pair, newest first, as far back as the exchange tells them.

        The pages are the exchange's own. Raises InvalidRequest, before the first one, where it has none
        (`unsupported`), and with the code `history_unavailable` where it tells no older ones.
        """
        query = arguments.market_query(currency, asset)
        return self._follow_cursors("fills", parsing.fills, query | _PAGED)

    def all_deposits(self, asset: str | None = None) -> Iterator[Deposit]:
        """Yield all that came in, of one asset or of all, newest first, as far back as the exchange tells it.

        At Bitstamp money comes after all else. Raises as `all_fills` does.
        """
        return self._follow_cursors("deposits", parsing.deposits, arguments.without_none(asset=asset) | _PAGED)

    def ledger(self, since: str | datetime | None = None) -> Iterator[LedgerEntry]:
        """Yield all that moved the account's money, oldest first: deposits, sends, the sides of trades, fees, rewards.

        By asset `amount` minus `fee` of all entries add up to the `balance`, where the exchange tells them all; the
        README says where not. `since`: a datetime with its zone, or its text in ISO 8601; entries of that time are
        there, too. What comes while it is read may be missing at its end: go on since the time of the last entry, and
        leave out the ids that you have. Raises InvalidRequest, before the first entry, where the exchange has no ledger
        (`unsupported`), and with the code `history_unavailable` where it tells no more of it.
        """
        return self._follow_cursors("ledger", history_parsing.ledger, arguments.time_query(since))

    # As Python's own libraries would call them.
    iter_orders, iter_fills, iter_withdrawals, iter_deposits = all_orders, all_fills, all_withdrawals, all_deposits

    def _follow_cursors(self, path: str, parse: Callable[[Any], list[_R]], query: Mapping[str, str]) -> Iterator[_R]:
        """Yield the records of a list of the exchange's, each once: what is new moves other rows to a later page."""
        cursor: str | None = None
        seen: set[object] = set()
        while True:
            page_query = {**query, **arguments.without_none(cursor=cursor)}
            expected = arguments.asked_for(query)
            read = partial(parsing.page_after, name=path, parse=parse, cursor=cursor, expected=expected)
            rows, cursor = self._get(path, read, page_query)
            for row in rows:
                # What came in may have one id in several assets, as a row of Bitstamp's.
                id = (row.get("id"), row.get("asset"))
                if row.get("id") is None or id not in seen:
                    yield row
                seen.add(id)
            if cursor is None:
                return

    def _read_pages(self, path: str, parse: Callable[[Any], list[_R]], query: Mapping[str, str]) -> Iterator[_R]:
        """Yield the records of a list of the server's own, whose ids rise and never come again."""
        before: int | None = None
        while True:
            page_query = {**query, **arguments.page_query(_PAGE, before)}
            page = self._get(path, partial(parsing.page_below, parse=parse, before=before), page_query)
            yield from page
            if len(page) < _PAGE:
                return
            before = whole_number(page[-1]["id"])
