"""What was traded and what came in, at Kraken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Any

from ...money import parse_decimal
from ..cursors import bad_cursor, numbers_of
from ..http import parsing_errors
from ..models import Deposit, Fill, HistoryPage
from ..parsing import list_or_nothing, newest_first, optional, readable_rows, required_text
from ..rules import no_such_market
from .market_data import KrakenMarketData
from .names import former_names
from .parsing import count_of, deposit_from_row, fill_from_row, shown_rows

__all__ = ["KrakenHistory"]

#: A page of TradesHistory, and how many of them are read: each counts 2 of at least 15 on the key's counter.
_PAGE, _PAGES = 50, 4
#: What Kraken's own cursors are made of: base64, as recorded by ccxt ("fetchWithdrawals").
_CURSOR = re.compile(r"[A-Za-z0-9+/=_-]{1,400}", re.ASCII)


class KrakenHistory(KrakenMarketData):
    """The verbs about trades and deposits that are over."""

    def fills(self, currency: str, asset: str) -> list[Fill]:
        """Return those among the latest trades of all pairs, by TradesHistory: 50 a page, and a few pages are read.

        Those of a market that Kraken does not list any more are recognised by what it calls its assets.
        """
        fills: dict[str, Fill] = {}
        for page in range(_PAGES):
            found, shown, count = self._trades({"ofs": page * _PAGE}, currency, asset)
            fills |= found
            if len(shown) < _PAGE or (page + 1) * _PAGE >= count or len(fills) >= _PAGE:
                break
        offered = self._pairs().listed()
        if not fills and (currency, asset) not in offered:
            raise no_such_market(self.name, currency, asset, offered)
        return newest_first(list(fills.values()), lambda fill: fill.time)

    def fills_page(self, currency: str, asset: str, cursor: str | None = None) -> HistoryPage[Fill]:
        """Return those of the pair in one page of TradesHistory, which has the trades of all pairs.

        The cursor has the `end` of the list, Kraken's second after the newest trade of the first page, so that what is
        traded later moves no row; and how many rows to skip, `ofs`.
        """
        end, offset = (None, 0) if cursor is None else numbers_of(self.name, cursor, 2)
        found, shown, count = self._trades({"end": end, "ofs": offset}, currency, asset)
        with parsing_errors(self.name):
            if end is None and shown:
                end = max(int(parse_decimal(row["time"])) for row in shown.values()) + 1
        offset += len(shown)
        over = len(shown) < _PAGE if count == inf else offset >= count
        return HistoryPage(
            newest_first(list(found.values()), lambda fill: fill.time), None if over else f"{end}:{offset}"
        )

    def _trades(
        self, parameters: Mapping[str, int | None], currency: str, asset: str
    ) -> tuple[dict[str, Fill], Mapping[str, Any], float]:
        """Return those of a pair in a page of TradesHistory, by their ids; all its rows; how many the list has."""
        pairs, offered = self._pairs(), self._pairs().listed()
        is_listed = (currency, asset) in offered
        names = set() if is_listed else former_names(currency, asset, self._assets())
        if not is_listed and not names:
            raise no_such_market(self.name, currency, asset, offered)

        def read(entry: tuple[str, Any]) -> tuple[str, Fill | None]:
            name, row = entry
            pair = pairs.of_name(required_text(row["pair"]))
            traded = None if pair is None else (pair.market.currency, pair.market.asset)
            is_meant = traded == (currency, asset) or (pair is None and row["pair"] in names)
            return name, fill_from_row(name, row, currency, asset) if is_meant else None

        result = self.api.private("TradesHistory", parameters)
        with parsing_errors(self.name):
            rows = shown_rows(result, "trades")
            found = {name: fill for name, fill in readable_rows(self.name, rows.items(), read) if fill is not None}
            return found, rows, (count_of(result) if rows else 0) or inf

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        rows, assets = self._transfers("DepositStatus", asset)
        with parsing_errors(self.name):
            deposits = readable_rows(self.name, list_or_nothing(rows), partial(deposit_from_row, assets=assets))
        return newest_first(deposits, lambda deposit: deposit.time)

    def deposits_page(self, asset: str | None = None, cursor: str | None = None) -> HistoryPage[Deposit]:
        """Return a page of DepositStatus, by a cursor of Kraken's own ("Get Status of Recent Deposits", cursor)."""
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise bad_cursor(self.name)
        assets, key = self._assets(), None if asset is None else self._asset_key(asset)
        result = self.api.private("DepositStatus", {"asset": key, "cursor": cursor or True})
        with parsing_errors(self.name):
            rows = list_or_nothing(result["deposit"])
            deposits = readable_rows(self.name, rows, partial(deposit_from_row, assets=assets))
            next = optional(required_text, result.get("next_cursor") or None)
        return HistoryPage(newest_first(deposits, lambda deposit: deposit.time), next)

    def _transfers(self, method: str, asset: str | None) -> tuple[Any, Mapping[str, str]]:
        """Return the rows of deposits or withdrawals, and the names of all assets."""
        assets = self._assets()
        return self.api.private(method, {"asset": None if asset is None else self._asset_key(asset)}), assets
