"""The adapter of Mt.Gox: the operations of `Exchange`, done with the calls of the version that a registration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Literal

from ...base import Exchange, ExchangeContext, Field
from ...errors import Refused, Unsupported
from ...http import parsing_errors, refused_key_is_proof
from ...models import (
    Deposit,
    DepositAddress,
    Fill,
    Funds,
    Market,
    NewOrder,
    NewWithdrawal,
    OrderBook,
    OrderRef,
    OrderState,
    Rate,
    Ticker,
    Trade,
    Withdrawal,
)
from ...orders import (
    accepted_order,
    cancel_each,
    cancel_errors,
    check_listed_by_now,
    find_open_or_closed,
    poll_until_final,
)
from ...parsing import list_or_nothing, listed_withdrawals, newest_first, readable_rows
from ..common import order_id_of, require_bitcoin, require_bitcoin_send
from .api import MtGoxAPI, Version
from .calls import Calls
from .parsing import (
    CURRENCIES,
    deposit_from_row,
    fee_from_history,
    fills_from_history,
    funds_from_wallets,
    pair_name,
    parse_order_id,
    row_type,
    unit_of,
    with_trades,
    withdrawal_from_row,
)
from .v0 import CallsV0

__all__ = ["MtGox"]

#: The version in a registration's form -> the version; the default is 2.
_VERSIONS: dict[str, Version] = {"0": 0, "1": 1, "2": 2, "": 2}
#: A right of the key -> what it allows. What withdraw_mgmt allowed is not documented: better too much than too little.
_PERMISSIONS = {"get_info": "read", "trade": "trade", "withdraw": "send", "withdraw_mgmt": "send"}


class MtGox(Exchange):
    """BTC against eighteen currencies.

    Orders carry no id of the caller, so nothing can be looked up after a lost answer. Mt.Gox accepted orders without
    funds and left them waiting: they are "open" here, because they trade as soon as funds arrive. An order that is
    neither open nor has trades was canceled or is not booked yet, which cannot be told apart: "closed". Version 0 has
    no call for an order that is no longer open, which is "closed", too.
    """

    id: ClassVar[str] = "mtgox"
    name: ClassVar[str] = "Mt.Gox"
    description: ClassVar[str] = "The exchange of 2010 to 2014, closed; for replicas, archives and teaching"
    lifecycle: ClassVar[Literal["open", "closed", "paper"]] = "closed"
    form: ClassVar[tuple[Field, ...]] = (
        Field("apikey", "the API key"),
        Field("apisecret", "the secret of the key, in base64", secret=True),
        Field("version", "of the HTTP API: 0, 1 or 2 (the default)", required=False),
    )
    requires_url: ClassVar[bool] = True
    order_lookup: ClassVar[Literal["all", "open", "none"]] = "none"
    ordered: ClassVar[bool] = True

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        self._calls = _create_calls(context, context.url) if context.url else None

    @property
    def api(self) -> MtGoxAPI:
        """The API at the administrator's base URL. Raises Refused without one."""
        return self.calls.api

    @property
    def calls(self) -> Calls | CallsV0:
        """The calls of the version, by `api`. Raises Refused without a base URL."""
        if self._calls is None:
            raise Refused(
                "Mt.Gox closed in February 2014; only an administrator can name a server that speaks its protocol,"
                " by the setting XWRAP_EXCHANGE_URL_MTGOX",
                code="exchange_url_missing",
            )
        return self._calls

    def rate(self, currency: str, asset: str) -> Rate:
        pair_name(currency, asset)
        return self.calls.rate(currency, asset)

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        pair_name(currency, asset)
        return self.calls.order_book(currency, asset, depth)

    def ticker(self, currency: str, asset: str) -> Ticker:
        pair_name(currency, asset)
        return self.calls.ticker(currency, asset)

    def trades(self, currency: str, asset: str, limit: int) -> list[Trade]:
        """Return trades of the last 24 hours."""
        pair_name(currency, asset)
        return self.calls.market_trades(currency, asset, limit)

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        pair_name(currency, asset)
        return self.calls.market_cost(currency, asset, amount)

    def markets(self) -> list[Market]:
        """Return the pairs that Mt.Gox had, from its documentation: there is no call for them."""
        _ = self.api  # refused without a base URL, as every operation
        return [
            Market(currency, "BTC", price_step=unit_of(currency), amount_step=unit_of("BTC")) for currency in CURRENCIES
        ]

    def funds(self) -> dict[str, Funds]:
        info = self.calls.info()
        with parsing_errors(self.name):
            return funds_from_wallets(self.name, info["Wallets"])

    def permissions(self) -> frozenset[str]:
        info = self.calls.info()
        with parsing_errors(self.name):
            return frozenset(_PERMISSIONS[right] for right in info["Rights"] if right in _PERMISSIONS)

    def check_kind(self, order: NewOrder) -> None:
        super().check_kind(order)
        pair_name(order.currency, order.asset)
        if order.amount is None or order.cost is not None:
            raise Unsupported("Mt.Gox cannot buy for a given cost; give the amount")

    def place(self, order: NewOrder) -> OrderState:
        self.check_kind(order)
        began = datetime.now(UTC)
        with refused_key_is_proof(self.calls.info):
            placed = accepted_order(order, self.calls.place(order, order.amount or Decimal(0)))
        if order.price is not None or not self.calls.reads_closed_orders:
            return placed
        ref = OrderRef(
            *(order.side, order.currency, order.asset, order.client_id, placed.exchange_order_id),
            created=began,
            amount=order.amount,
        )
        return poll_until_final(placed, lambda: self.order(ref))

    def order(self, ref: OrderRef) -> OrderState:
        """Return an open order, or what its trades say; "closed" when it is not open, and no trades are told."""
        order_id_of(ref, parse_order_id, self.name)
        state = find_open_or_closed(self.open_orders(), replace(ref, created=None), self.name)
        # The list counts down what is left of an order; the caller knows what it was.
        state = replace(state, amount=ref.amount or state.amount, client_id=ref.client_id)
        trades = self.calls.trades(ref)
        if trades is None:
            if state.status != "open":
                check_listed_by_now(ref, self.name)
            return state
        with parsing_errors(self.name):
            state = with_trades(state, trades)
        if state.status == "partly_filled":
            # Its other trades may not be booked yet.
            check_listed_by_now(ref, self.name)
        return state if state.status == "open" else self._with_fee(state, trades)

    def open_orders(self) -> list[OrderState]:
        return self.calls.open_orders()

    def cancel(self, ref: OrderRef) -> None:
        self._cancel(order_id_of(ref, parse_order_id, self.name), ref.currency, ref.asset)

    def cancel_all(self) -> int:
        return cancel_each(
            self.open_orders(),
            lambda state: self._cancel(state.exchange_order_id, str(state.currency), str(state.asset)),
        )

    def fills(self, currency: str, asset: str) -> list[Fill]:
        """Return the trades that both wallets have among their newest 50 rows of history.

        Also of a pair that is not in the documentation: it may have been taken off.
        """
        things, money = self.calls.history(asset), self.calls.history(currency)
        with parsing_errors(self.name):
            return fills_from_history(self.name, list_or_nothing(things), list_or_nothing(money), currency, asset)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        """Return the current address; it changes only when it was used (mtgox-doc)."""
        require_bitcoin(asset, network, self.name)
        return DepositAddress(asset, self.calls.bitcoin_address(), network=network)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        require_bitcoin_send(withdrawal, self.name)
        with refused_key_is_proof(self.calls.info):
            return self.calls.send(withdrawal)

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        rows: list[tuple[str, Any]] = []
        for currency, history in self._histories(asset):
            with parsing_errors(self.name):
                rows += [(currency, row) for row in list_or_nothing(history)]
        with parsing_errors(self.name):
            found = readable_rows(self.name, rows, _deposit_or_none)
        deposits = [deposit for deposit in found if deposit is not None]
        return newest_first(deposits, lambda deposit: deposit.time)

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        found: list[Withdrawal] = []
        reads_others = False
        for currency, history in self._histories(asset):
            with parsing_errors(self.name):
                if not isinstance(history, list):
                    raise TypeError("no list")
                # A row that does not say what it is may be a send.
                rows = [row for row in history if row_type(row) in {"withdraw", None}]
                reads_others = reads_others or len(rows) < len(history)
                read = partial(withdrawal_from_row, currency)
                found += listed_withdrawals(self.name, rows, read, currency, among_others=True)
        with parsing_errors(self.name):
            if found and not reads_others and not any(withdrawal.id for withdrawal in found):
                raise ValueError("no row can be understood")
        return newest_first(found, lambda withdrawal: withdrawal.created)

    def _cancel(self, order_id: str, currency: str, asset: str) -> None:
        with cancel_errors(), refused_key_is_proof(self.calls.info):
            self.calls.cancel(order_id, currency, asset)

    def _with_fee(self, state: OrderState, trades: Mapping[str, Any]) -> OrderState:
        """Return `state` with its fee where all its trades are booked in the history, which is of one wallet."""
        currency = (state.asset if state.side == "buy" else state.currency) or ""
        try:
            rows = self.calls.history(currency)
            with parsing_errors(self.name):
                fee = fee_from_history(list_or_nothing(rows), trades, currency)
        except Refused:
            return state
        return state if fee is None else replace(state, fee=fee, fee_currency=currency)

    def _histories(self, asset: str | None) -> Iterator[tuple[str, Any]]:
        """Give the rows of history with their currency: of one wallet, or of all there are."""
        if asset is not None:
            currencies = [asset]
        else:
            info = self.calls.info()
            with parsing_errors(self.name):
                currencies = sorted(info["Wallets"])
        for currency in currencies:
            yield currency, self.calls.history(currency)


def _deposit_or_none(entry: tuple[str, Any]) -> Deposit | None:
    """Return the deposit of a row of the history of a currency's wallet; None for a row of another type."""
    currency, row = entry
    if (kind := row_type(row)) is None:
        raise ValueError("a row without a type")
    return deposit_from_row(currency, row) if kind == "deposit" else None


def _create_calls(context: ExchangeContext, url: str) -> Calls | CallsV0:
    keys = context.credentials
    version = _VERSIONS.get(keys.more.get("version", ""))
    if version is None:
        words = f"'version' is '{keys.more.get('version')}'; the version of Mt.Gox's API is 0, 1 or 2"
        raise Refused(words, code="invalid_request", details={"field": "version"})
    api = MtGoxAPI(
        url,
        keys.apikey,
        keys.apisecret,
        version=version,
        transport=context.transport,
        nonce=context.nonce,
        throttle=context.throttle,
        cache=context.cache,
    )
    return CallsV0(api) if version == 0 else Calls(api)
