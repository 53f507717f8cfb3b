"""The adapter of Kraken: the verbs of `Exchange` by calls of its API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

from ...money import parse_decimal
from ..base import Exchange, ExchangeContext, Field, RateLimit
from ..errors import Refused
from ..http import parsing_errors
from ..models import (
    Deposit,
    DepositAddress,
    Fill,
    Funds,
    Market,
    NewOrder,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Rate,
    Withdrawal,
)
from ..orders import accepted_order, cancel_errors, check_same_order, poll_until_final
from ..parsing import required_text
from ..rules import check, find_market, network_required, no_such_asset
from .api import URL, KrakenAPI
from .parsing import (
    Pair,
    assets_from_rows,
    balance_name,
    deposit_from_row,
    fill_from_row,
    funds_from_row,
    only_entry,
    order_from_row,
    pairs_from_rows,
    tag_from_row,
    withdrawal_from_row,
)

#: Fee credits; no money.
_CREDITS = "KFEE"
#: Which of several deposit methods is meant when no network is named; any other choice would be a guess.
_USUAL_METHOD = {"BTC": "Bitcoin"}
#: A page of TradesHistory, and how many of them are read: each counts 2 of at least 15 on the key's counter.
_PAGE, _PAGES = 50, 4


class Kraken(Exchange):
    """Spot markets of Kraken. Fees are always taken in the pair's currency (`oflags=fciq`)."""

    id = "kraken"
    name = "Kraken"
    description = "Kraken, spot markets"
    form: ClassVar[tuple[Field, ...]] = (
        Field("apikey", "the API key"),
        Field("apisecret", "the private key that Kraken showed with the API key", secret=True),
    )
    order_lookup = "all"
    ordered = True
    #: "Spot REST Rate Limits", a Starter key: 15, falling by 0.33 a second; histories count 2, orders and cancels none.
    #: It is one less here because Kraken counts a call when it arrives, later than we do.
    per_key = RateLimit(
        14,
        0.33,
        {
            **dict.fromkeys(("AddOrder", "CancelOrder"), 0),
            **dict.fromkeys(("ClosedOrders", "TradesHistory", "QueryTrades", "Ledgers", "QueryLedgers"), 2),
        },
        polls=frozenset({"QueryOrders"}),
    )
    #: The same page: public calls are counted by address; about one a second is safe.
    per_address = RateLimit(5, 1)

    def __init__(self, context: ExchangeContext) -> None:
        """Raises Refused when the secret does not decode."""
        super().__init__(context)
        keys = context.credentials
        self.api = KrakenAPI(
            keys.apikey,
            keys.apisecret,
            url=context.url or URL,
            transport=context.transport,
            nonce=context.nonce,
            throttle=context.throttle,
        )

    def rate(self, currency: str, asset: str) -> Rate:
        pair = self._find_pair(currency, asset)
        rows = self.api.public("Ticker", {"pair": pair.key})
        with parsing_errors(self.name):
            row = only_entry(rows)
            buy, sell = parse_decimal(row["a"][0]), parse_decimal(row["b"][0])
            if not buy >= sell > 0:
                raise ValueError(f"ask {buy}, bid {sell}")
        return Rate(buy, sell, datetime.now(UTC))

    def markets(self) -> list[Market]:
        return [pair.market for pair in self._pairs().values()]

    def funds(self) -> dict[str, Funds]:
        """Lines with a suffix are their own: `.S` staked, `.F` rewards, `.M` opt-in, `.HOLD` held money, and so on."""
        assets = self._assets()
        rows = self.api.private("BalanceEx")
        with parsing_errors(self.name):
            return {balance_name(key, assets): funds_from_row(row) for key, row in rows.items() if key != _CREDITS}

    def place(self, order: NewOrder) -> OrderState:
        pair = self._find_pair(order.currency, order.asset)
        check(order, pair.market)
        form = {
            "pair": pair.key,
            "type": order.side,
            "ordertype": "market" if order.price is None else "limit",
            # With `viqc` the volume counts the currency.
            "volume": order.amount if order.cost is None else order.cost,
            "price": order.price,
            # With `fciq` the fee's currency is known; the default differs by side ("Add Order", oflags).
            "oflags": "fciq" if order.cost is None else "fciq,viqc",
            "cl_ord_id": order.client_id,
        }
        result = self.api.private("AddOrder", form)
        with parsing_errors(self.name, mutates=True):
            txid = required_text(only_entry(result["txid"]))
        accepted = accepted_order(order, txid)
        if order.price is not None:
            return accepted
        ref = OrderRef(order.side, order.currency, order.asset, order.client_id, exchange_order_id=txid)
        return poll_until_final(accepted, lambda: self.order(ref))

    def order(self, ref: OrderRef) -> OrderState:
        rows = self.api.private("QueryOrders", {"txid": ref.exchange_order_id})
        pairs = self._pairs()
        with parsing_errors(self.name):
            state = order_from_row(ref.exchange_order_id or "", rows[ref.exchange_order_id], pairs)
            check_same_order(state, ref)
        return state

    def find(self, ref: OrderRef) -> OrderState | None:
        """Look among the open orders first: one that is filled between the two questions is seen by the second."""
        pairs = self._pairs()
        for method, key in (("OpenOrders", "open"), ("ClosedOrders", "closed")):
            result = self.api.private(method, {"cl_ord_id": ref.client_id})
            with parsing_errors(self.name):
                states = [order_from_row(txid, row, pairs) for txid, row in result[key].items()]
                if any(state.client_id != ref.client_id for state in states):
                    # Of all orders only the last 50 come, so ours may be among those that did not.
                    raise ValueError("orders with other ids than the one asked for")
            if states:
                return states[0]
        return None

    def open_orders(self) -> list[OrderState]:
        pairs = self._pairs()
        result = self.api.private("OpenOrders")
        with parsing_errors(self.name):
            return [order_from_row(txid, row, pairs) for txid, row in result["open"].items()]

    def cancel(self, ref: OrderRef) -> None:
        by = {"cl_ord_id": ref.client_id} if ref.exchange_order_id is None else {"txid": ref.exchange_order_id}
        with cancel_errors():
            result = self.api.private("CancelOrder", by)
        with parsing_errors(self.name, mutates=True):
            if int(parse_decimal(result["count"])) == 0:
                raise Refused("Kraken canceled nothing", code="order_not_open")

    def cancel_all(self) -> int:
        result = self.api.private("CancelAll")
        with parsing_errors(self.name, mutates=True):
            return int(parse_decimal(result["count"]))

    def fills(self, currency: str, asset: str) -> list[Fill]:
        """Return those among the latest trades of all pairs, by TradesHistory: 50 a page, and a few pages are read."""
        pair = self._find_pair(currency, asset)
        fills: dict[str, Fill] = {}
        for page in range(_PAGES):
            result = self.api.private("TradesHistory", {"ofs": page * _PAGE})
            with parsing_errors(self.name):
                rows = result["trades"]
                mine = {name: row for name, row in rows.items() if row["pair"] in (pair.key, pair.altname)}
                fills |= {name: fill_from_row(name, row, pair) for name, row in mine.items()}
                over = len(rows) < _PAGE or (page + 1) * _PAGE >= int(parse_decimal(result["count"]))
            if over or len(fills) >= _PAGE:
                break
        return sorted(fills.values(), key=lambda fill: fill.time, reverse=True)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        """Return an address of `network`, one of Kraken's deposit methods; it is needed where an asset has several."""
        key = self._asset_key(asset)
        rows = self.api.private("DepositMethods", {"asset": key})
        with parsing_errors(self.name):
            method = _choose_method(asset, [str(row["method"]) for row in rows], network)
        asked = {"asset": key, "method": method}
        # An address comes again until a new one is asked for; the very first time there may be none.
        rows = self.api.private("DepositAddresses", asked)
        rows = rows or self.api.private("DepositAddresses", asked | {"new": True})
        with parsing_errors(self.name):
            row = rows[0]
            return DepositAddress(asset, required_text(row["address"]), tag_from_row(row), method)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """Send to an address of Kraken's own address book, by its name there: the book is read first."""
        key = self._asset_key(withdrawal.asset)
        row = self._address_book_row(withdrawal, key)
        form = {"asset": key, "key": row["key"], "address": withdrawal.address, "amount": withdrawal.amount}
        result = self.api.private("Withdraw", form)
        with parsing_errors(self.name, mutates=True):
            return Withdrawal(
                id=required_text(result["refid"]),
                asset=withdrawal.asset,
                amount=withdrawal.amount,
                status="pending",
                address=withdrawal.address,
                tag=withdrawal.tag,
                network=row["method"],
            )

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        rows, assets = self._transfer_rows("DepositStatus", asset)
        with parsing_errors(self.name):
            return [deposit_from_row(row, assets) for row in rows]

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows, assets = self._transfer_rows("WithdrawStatus", asset)
        with parsing_errors(self.name):
            return [withdrawal_from_row(row, assets) for row in rows]

    def permissions(self) -> frozenset[str]:
        """Return what GetApiKeyInfo says, which needs no right itself."""
        result = self.api.private("GetApiKeyInfo")
        ours = {"query-funds": "read", "modify-trades": "trade", "withdraw-funds": "send"}
        with parsing_errors(self.name):
            return frozenset(ours[right] for right in result["permissions"] if right in ours)

    def _assets(self) -> Mapping[str, str]:
        """Return the common name ("BTC") of each asset by its key ("XXBT")."""
        return self._cached("Assets", partial(self.api.public, "Assets"), assets_from_rows)

    def _pairs(self) -> Mapping[tuple[str, str], Pair]:
        """Return the pairs by (currency, asset)."""
        return self._cached("AssetPairs", partial(self.api.public, "AssetPairs"), pairs_from_rows)

    def _find_pair(self, currency: str, asset: str) -> Pair:
        return find_market(self.name, currency, asset, self._pairs())

    def _asset_key(self, name: str) -> str:
        """Return the key of the asset with this common name."""
        for key, common in self._assets().items():
            if common == name:
                return key
        raise no_such_asset(self.name, name)

    def _transfer_rows(self, method: str, asset: str | None) -> tuple[list[Any], Mapping[str, str]]:
        """Return the rows of deposits or withdrawals, newest first, and the names of all assets."""
        assets = self._assets()
        rows = self.api.private(method, {"asset": None if asset is None else self._asset_key(asset)})
        with parsing_errors(self.name):
            return sorted(rows, key=lambda row: parse_decimal(row["time"]), reverse=True), assets

    def _address_book_row(self, withdrawal: NewWithdrawal, key: str) -> Mapping[str, str]:
        """Return the row of the address book that is exactly where `withdrawal` is to go."""
        rows = self.api.private("WithdrawAddresses", {"asset": key})
        with parsing_errors(self.name):
            known = [row for row in rows if row["address"] == withdrawal.address]
            fitting: list[Mapping[str, str]] = [
                row
                for row in known
                if row["verified"] is True
                and tag_from_row(row) == withdrawal.tag
                and (withdrawal.network or row["method"]).casefold() == row["method"].casefold()
            ]
        if not fitting:
            there = "with this tag and network, and confirmed, " if known else ""
            raise Refused(
                f"the address is not {there}in Kraken's address book; register it at Kraken first, then send again",
                code="address_not_registered",
            )
        networks = sorted({row["method"] for row in fitting})
        if len(networks) > 1:
            raise network_required(withdrawal.asset, networks)
        return fitting[0]


def _choose_method(asset: str, methods: list[str], network: str | None) -> str:
    """Return the deposit method called `network`; without one, the usual one or the only one."""
    wanted = network or _USUAL_METHOD.get(asset)
    for method in methods:
        if wanted is not None and method.casefold() == wanted.casefold():
            return method
    if network is None and len(methods) == 1:
        return methods[0]
    raise network_required(asset, methods)
