"""Mt.Gox: its historic HTTP API, versions 0, 1 and 2 (`MtGoxAPI`), and our verbs said in it (`MtGox`).

The exchange closed in February 2014. This serves replicas, archives and teaching, at an address that the administrator
sets; there is no default, for nobody knows who will own the old hosts tomorrow.

Sources: the Bitcoin Wiki's pages MtGox/API/HTTP, /v0 and /v1 (revisions of 2012 and 2013), the exchange's own client
(repository MtGox/api, May 2013) and documentation (repository DanBUK/mtgox-doc, August 2012), the "Unofficial
Documentation for MtGox's HTTP API v2" (March 2013), and the clients goxtool, XChange and the ruby gem of those years.
"""

from __future__ import annotations

import base64
import binascii
import decimal
import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlencode

from ....money import EXACT, mean, parse_decimal, plain, total
from ....transport import Request, Transport
from ...base import Exchange, ExchangeContext, Field, Throttle, no_throttle
from ...cache import TTLCache
from ...errors import Busy, ExchangeError, Refused, Unsupported
from ...http import parsing_errors, poll_until_final, retry_after, send, unknown_or_refused
from ...models import (
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
    Side,
    Status,
    Withdrawal,
)
from ...rules import no_such_market

if TYPE_CHECKING:
    from ....transport import Response

__all__ = ["MtGox", "MtGoxAPI"]

# --- the exchange's own API -------------------------------------------------------------------------------------------

Version = Literal[0, 1, 2]
_VERSIONS: dict[str, Version] = {"0": 0, "1": 1, "2": 2, "": 2}

#: Private calls that execute nothing. Any other one is taken as a call that may move money.
_READS = re.compile(
    r"([A-Za-z]+/)*(info|getFunds|orders|getOrders|btcAddress|idkey|order/(result|lag|quote)|wallet/history"
    r"|bitcoin/address|history_[A-Z]{3})(\.php|\.csv)?"
)
#: Seconds for which the exchange cached everything; asking more often led to a ban (Bitcoin Wiki, MtGox/API/HTTP).
_CACHED = 10.0

#: Tokens of error answers, as clients met them -> our codes. What a key without the right was told is not recorded.
_TOKENS = {
    "login_error_missing_rest_key": "exchange_key_refused",
    "login_error_invalid_nonce": "invalid_nonce",
    "unknown_order_id": "unknown_order",
}
#: Words of error answers -> our codes; version 0 and the early version 1 had no tokens. Others stay exchange_refused.
_WORDS = (
    ("identification required to access private api", "exchange_key_refused"),
    ("order not found", "unknown_order"),
    ("order amount is too low", "invalid_amount"),
    ("insufficient funds", "insufficient_funds"),
)


class MtGoxAPI:
    """Every call of the API of one `version`, signed.

    `MtGoxAPI(url).public("BTCUSD/money/ticker")`, `MtGoxAPI(url, key, secret).private("money/info")`: paths are those
    after `/api/VERSION/`. Answers are decoded JSON with exact numbers, out of their envelope; a `.csv` is text. Raises
    what an adapter raises: Refused, Busy, and Unknown when a call that moves something may have been executed. Nothing
    is repeated. An answer of a public call is given again for 10 s; treat it as read-only.

    `secret` is base64. `nonce` gives rising integers for this key (default: the microseconds since 1970). With `tonce`
    they must be the microseconds since 1970, within 10 s of the exchange's clock, and need not arrive in order.
    """

    def __init__(
        self,
        url: str,
        key: str = "",
        secret: str = "",
        *,
        version: Version = 2,
        tonce: bool = False,
        transport: Transport | None = None,
        nonce: Callable[[], int] | None = None,
        throttle: Throttle = no_throttle,
        cache: TTLCache | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.key = key
        self.version = version
        self.transport = transport or Transport()
        self._secret = _decoded(secret)
        self._once = "tonce" if tonce else "nonce"
        self._number = nonce or _rising()
        self._throttle = throttle
        self._cache = cache or TTLCache()

    def __repr__(self) -> str:
        return f"MtGoxAPI({self.url!r}, version={self.version})"

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def public(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The answer of a public GET call, as `public("BTCUSD/trades/fetch", {"since": "1365499103363494"})`."""
        request = self.query(path, query)

        def fetch() -> Any:
            with self._throttle(path, signed=False):
                return self._read(send(self.transport, request, "Mt.Gox", mutates=False), mutates=False)

        return self._cache.get_or_fetch(request.url, fetch, seconds=_CACHED)

    def private(self, path: str, form: Mapping[str, str] | None = None) -> Any:
        """The answer of a signed POST call."""
        mutates = not _READS.fullmatch(path)
        with self._throttle(path, signed=True):
            answer = send(self.transport, self.signed(path, form), "Mt.Gox", mutates=mutates)
            if path.endswith(".csv") and answer.status == 200:
                return answer.body.decode(errors="replace")
            return self._read(answer, mutates=mutates)

    def query(self, path: str, query: Mapping[str, str] | None = None) -> Request:
        """The request of a public call, ready to send; nothing is sent here."""
        text = f"?{urlencode(query)}" if query else ""
        return Request("GET", f"{self.url}/api/{self.version}/{path}{text}", {"User-Agent": "bitmm"})

    def signed(self, path: str, form: Mapping[str, str] | None = None, *, nonce: int | None = None) -> Request:
        """The signed request of a private call, ready to send; nothing is sent here.

        The message is the body, in version 2 with the path and a NUL in front (Bitcoin Wiki, MtGox/API,
        "Authentication"; unofficial documentation, "Authentication"). Where the nonce stands does not matter: here it
        is last as in the wiki's example, and in version 2 first.
        """
        if not (self.key.isascii() and self.key.isprintable() and self.key and self._secret):
            raise Refused("Mt.Gox needs an API key and its secret", code="exchange_key_refused")
        fields, once = list((form or {}).items()), (self._once, str(self._number() if nonce is None else nonce))
        body = urlencode([once, *fields] if self.version == 2 else [*fields, once]).encode()
        message = f"{path}\0".encode() + body if self.version == 2 else body
        headers = {
            "User-Agent": "bitmm",  # without one the exchange refused every call (Bitcoin Wiki, MtGox/API/HTTP/v1)
            "Rest-Key": self.key,
            "Rest-Sign": base64.b64encode(hmac.new(self._secret, message, hashlib.sha512).digest()).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return Request("POST", f"{self.url}/api/{self.version}/{path}", headers, body)

    def _read(self, answer: Response, *, mutates: bool) -> Any:
        # Errors came with any status, so the document is read first (goxtool, 2013).
        try:
            document = answer.json()
        except ValueError:
            raise _unreadable(answer, mutates=mutates) from None
        if isinstance(document, dict) and "error" in document:
            raise _error(document, answer, mutates=mutates)
        if answer.status != 200:
            raise _unreadable(answer, mutates=mutates)
        if self.version == 0:
            return document
        with parsing_errors("Mt.Gox", mutates=mutates):
            if document["result"] != "success":
                raise ValueError("neither success nor error")
            # "data" is version 2's word; recordings of version 2 have "return" as well.
            return document["data"] if "data" in document else document["return"]


def _decoded(secret: str) -> bytes:
    try:
        return base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("the API secret is not base64", code="exchange_key_refused") from None


def _rising() -> Callable[[], int]:
    """The microseconds since 1970, never the same twice in this object."""
    lock, last = threading.Lock(), 0

    def following() -> int:
        nonlocal last
        with lock:
            last = max(last + 1, time.time_ns() // 1000)
            return last

    return following


def _error(document: Mapping[str, Any], answer: Response, *, mutates: bool) -> ExchangeError:
    words, token = str(document["error"])[:300], str(document.get("token", ""))
    if answer.status == 429:
        return Busy(words, retry_after=retry_after(answer, seconds=_CACHED))
    ours = _TOKENS.get(token) or next((ours for start, ours in _WORDS if words.lower().startswith(start)), None)
    if ours is None and token.startswith("login_error"):
        ours = "exchange_key_refused"
    if ours is None and (answer.status >= 500 or token == "unknown_error" or "unknown error" in words.lower()):  # noqa: S105 - a name
        return unknown_or_refused(words, mutates=mutates)
    return Refused(words, code=ours or "exchange_refused", retryable=ours == "invalid_nonce")


def _unreadable(answer: Response, *, mutates: bool) -> ExchangeError:
    """What an answer means that is no document: pages of the anti-DDoS layer, "MySQL error, please retry later"."""
    if answer.status == 429:
        return Busy("Mt.Gox says: too many requests", retry_after=retry_after(answer, seconds=_CACHED))
    return unknown_or_refused(f"Mt.Gox's answer (HTTP {answer.status}) cannot be read", mutates=mutates)


# --- numbers ----------------------------------------------------------------------------------------------------------

#: "value_int" counts 10^-8 BTC, 10^-3 of these, and 10^-5 of every other currency (mtgox-doc, inc_money_autogen.tex).
_DIGITS = {"BTC": 8, "JPY": 3, "SEK": 3}
_CURRENCIES = (
    *("AUD", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD"),
    *("JPY", "NOK", "NZD", "PLN", "RUB", "SEK", "SGD", "THB", "USD"),
)


def _digits(currency: str) -> int:
    return _DIGITS.get(currency, 5)


def _units(amount: Decimal, currency: str, field: Literal["amount", "price"]) -> str:
    """`amount` as a whole number of the currency's units. Raises Refused when it is none; nothing is rounded."""
    units = amount.scaleb(_digits(currency), EXACT)
    whole = units.to_integral_value(decimal.ROUND_HALF_UP)
    if units > 0 and units == whole:
        return f"{whole:f}"
    nearest = plain(max(whole, Decimal(1)).scaleb(-_digits(currency), EXACT))
    raise Refused(
        f"the {field} {plain(amount)} {currency} is not a whole number of 10^-{_digits(currency)} {currency};"
        f" the nearest allowed is {nearest}",
        code=f"invalid_{field}",
        details={"field": field, "nearest": nearest},
    )


def _scaled(units: object, currency: str) -> Decimal:
    """The amount of a `value_int`, `amount_int` or `price_int`."""
    if not re.fullmatch(r"-?\d{1,30}", str(units), re.ASCII):
        raise ValueError("not a whole number of units")
    return Decimal(str(units)).scaleb(-_digits(currency), EXACT)


def _money(thing: Mapping[str, Any], currency: str) -> Decimal:
    """The amount of a money object, which must be in `currency`. "value" may have more digits, "display" fewer."""
    if thing["currency"] != currency:
        raise ValueError("another currency")
    return _scaled(thing["value_int"], currency)


def _noisy(value: object, currency: str) -> Decimal:
    """A number of version 0, which sent binary floats (16.800000000000001): the nearest whole number of units."""
    return parse_decimal(value).quantize(Decimal(1).scaleb(-_digits(currency)), context=decimal.Context(prec=60))


def _moment(microseconds: object) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(str(microseconds)))


# --- the adapter ------------------------------------------------------------------------------------------------------

#: What we ask -> the call of each version.
_CALLS: dict[str, tuple[str | None, str, str]] = {
    "ticker": ("data/ticker.php", "{pair}/ticker", "{pair}/money/ticker"),
    "info": ("info.php", "generic/info", "money/info"),
    "orders": ("getOrders.php", "generic/orders", "money/orders"),
    "add": (None, "{pair}/order/add", "{pair}/money/order/add"),
    "cancel": ("cancelOrder.php", "{pair}/order/cancel", "money/order/cancel"),
    "result": (None, "generic/order/result", "money/order/result"),
    "history": (None, "generic/wallet/history", "money/wallet/history"),
    "address": ("btcAddress.php", "generic/bitcoin/address", "money/bitcoin/address"),
    "send": ("withdraw.php", "generic/bitcoin/send_simple", "money/bitcoin/send_simple"),
}
_TYPES: dict[str, Side] = {"bid": "buy", "ask": "sell", "2": "buy", "1": "sell"}
_WORDS_OF_SIDES = {"buy": "bid", "sell": "ask"}
#: A right of the key -> what it allows. What withdraw_mgmt allowed is not documented: better too much than too little.
_RIGHTS = {"get_info": "read", "trade": "trade", "withdraw": "send", "withdraw_mgmt": "send"}
#: Wallet history: the type of the row that books the asset of a trade -> our side.
_TRADES: dict[str, Side] = {"in": "buy", "out": "sell"}


class MtGox(Exchange):
    """BTC against eighteen currencies.

    Orders carry no id of the caller, so nothing can be looked up after a lost answer. Mt.Gox accepted orders without
    funds and left them waiting: they are "open" here, for they trade as soon as funds arrive. An order that is neither
    open nor has trades was cancelled or is not booked yet, which cannot be told apart: "unknown". Version 0 tells
    nothing of an order that is no longer open.
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
        self._api = _api(context, context.url) if context.url else None

    @property
    def api(self) -> MtGoxAPI:
        """The API at the administrator's base URL. Raises Refused without one."""
        if self._api is None:
            raise Refused(
                "Mt.Gox closed in February 2014; only an administrator can name a server that speaks its protocol,"
                " by the setting XWRAP_EXCHANGE_URL_MTGOX",
                code="exchange_url_missing",
            )
        return self._api

    def rate(self, currency: str, asset: str) -> Rate:
        self._pair(currency, asset)
        path = self._call("ticker", currency, asset)
        document = self.api.public(path, {"Currency": currency} if self.api.version == 0 else None)
        with parsing_errors(self.name):
            return _rate(document["ticker"] if self.api.version == 0 else document, currency)

    def markets(self) -> list[Market]:
        """The pairs that Mt.Gox had, from its documentation: no call tells them."""
        _ = self.api  # refused without a base URL, as every verb
        return [_market(currency) for currency in _CURRENCIES]

    def funds(self) -> dict[str, Funds]:
        info = self.api.private(self._call("info"))
        with parsing_errors(self.name):
            return {currency: _funds(wallet, currency) for currency, wallet in info["Wallets"].items()}

    def permissions(self) -> frozenset[str]:
        info = self.api.private(self._call("info"))
        with parsing_errors(self.name):
            return frozenset(_RIGHTS[right] for right in info["Rights"] if right in _RIGHTS)

    def place(self, order: NewOrder) -> OrderState:
        self._pair(order.currency, order.asset)
        if order.amount is None or order.cost is not None:
            raise Unsupported("Mt.Gox cannot buy for a given cost; give the amount")
        oid = self._placed_by_0(order, order.amount) if self.api.version == 0 else self._placed(order, order.amount)
        placed = OrderState(
            oid,
            "open",
            side=order.side,
            currency=order.currency,
            asset=order.asset,
            amount=order.amount,
            price=order.price,
            client_id=order.client_id,
        )
        if order.price is not None or self.api.version == 0:
            return placed
        ref = OrderRef(order.side, order.currency, order.asset, order.client_id, oid, amount=order.amount)

        def read() -> OrderState:
            state = self.order(ref)
            return placed if state.status == "unknown" else state

        return poll_until_final(placed, read)

    def order(self, ref: OrderRef) -> OrderState:
        oid = _known(ref)
        state = OrderState(oid, "unknown", ref.side, ref.currency, ref.asset, ref.amount, ref.price)
        told = {state.exchange_order_id: state for state in self.open_orders()}.get(oid)
        with parsing_errors(self.name):
            if told is not None:
                if (told.side, told.currency, told.asset) != (ref.side, ref.currency, ref.asset):
                    raise ValueError("another order")
                # The list counts down what is left of an order; the caller knows what it was.
                state = replace(told, amount=ref.amount or told.amount)
        state = replace(state, client_id=ref.client_id)
        if self.api.version == 0 or (result := self._result(ref)) is None:
            return state
        with parsing_errors(self.name):
            state = _with_result(state, result)
        return state if state.status == "open" else self._with_fee(state, result)

    def open_orders(self) -> list[OrderState]:
        document = self.api.private(self._call("orders"))
        with parsing_errors(self.name):
            rows = document["orders"] if self.api.version == 0 else document
            return [_open_order(row) for row in rows]

    def cancel(self, ref: OrderRef) -> None:
        self._cancel(_known(ref), ref.currency, ref.asset)

    def cancel_all(self) -> int:
        """Each open order is cancelled by itself; Mt.Gox had no call for all."""
        canceled = 0
        for state in self.open_orders():
            try:
                self._cancel(state.exchange_order_id, str(state.currency), str(state.asset))
                canceled += 1
            except Refused as error:
                if error.code != "order_not_open":
                    raise
        return canceled

    def fills(self, currency: str, asset: str) -> list[Fill]:
        """The trades that both wallets have among their newest 50 rows of history."""
        self._pair(currency, asset)
        things, money = self._history(asset), self._history(currency)
        with parsing_errors(self.name):
            return _fills(things, money, currency, asset)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        """The current address; a new one only after it was used (mtgox-doc)."""
        _only_bitcoin(asset, network)
        answer = self.api.private(self._call("address"))
        with parsing_errors(self.name):
            if not re.fullmatch(r"[0-9A-Za-z]{26,90}", answer["addr"], re.ASCII):
                raise ValueError("no address")
            return DepositAddress(asset, answer["addr"], network=network)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """The id is the bitcoin transaction, or a UUID for a transfer inside Mt.Gox; in version 0 it is ours."""
        _only_bitcoin(withdrawal.asset, withdrawal.network)
        if withdrawal.tag is not None:
            raise Refused("bitcoin addresses have no tag", code="invalid_request")
        units = _units(withdrawal.amount, "BTC", "amount")
        form = {"address": withdrawal.address, "amount_int": units}
        if self.api.version == 0:
            form = {"group1": "BTC", "btca": withdrawal.address, "amount": plain(withdrawal.amount)}
        answer = self.api.private(self._call("send"), form)
        sent = Withdrawal(
            withdrawal.client_id,
            "BTC",
            withdrawal.amount,
            "unknown",
            address=withdrawal.address,
            network=withdrawal.network,
        )
        if self.api.version == 0:
            # The answer is a sentence for people and the balances; what the sentence was is not recorded anywhere.
            return sent
        with parsing_errors(self.name, mutates=True):
            trx = answer["trx"]
            if not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f-]{36}", trx, re.ASCII):
                raise ValueError("no transaction")
            return replace(sent, id=trx, status="done", txid=trx if len(trx) == 64 else None)

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        rows = self._booked("deposit", asset)
        with parsing_errors(self.name):
            return [
                Deposit(
                    _row_id(row), name, _money(row["Value"], name), "done", address=_address(row), time=_row_time(row)
                )
                for name, row in rows
            ]

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows = self._booked("withdraw", asset)
        with parsing_errors(self.name):
            return [
                Withdrawal(
                    _row_id(row),
                    name,
                    _money(row["Value"], name),
                    "done",
                    address=_address(row),
                    txid=_transaction(row),
                    created=_row_time(row),
                )
                for name, row in rows
            ]

    # --- the calls behind the verbs ---

    def _call(self, what: str, currency: str = "", asset: str = "") -> str:
        """The path of a call in this version. Raises Unsupported when the version has none."""
        path = _CALLS[what][self.api.version]
        if path is None:
            raise Unsupported(f"version {self.api.version} of Mt.Gox's API has no call for this")
        return path.format(pair=self._pair(currency, asset)) if "{pair}" in path else path

    def _pair(self, currency: str, asset: str) -> str:
        if asset != "BTC" or currency not in _CURRENCIES:
            raise no_such_market(self.name, currency, asset, [(name, "BTC") for name in _CURRENCIES])
        return asset + currency

    def _placed(self, order: NewOrder, amount: Decimal) -> str:
        form = {"type": _WORDS_OF_SIDES[order.side], "amount_int": _units(amount, order.asset, "amount")}
        if order.price is not None:
            form["price_int"] = _units(order.price, order.currency, "price")
        answer = self.api.private(self._call("add", order.currency, order.asset), form)
        with parsing_errors(self.name, mutates=True):
            return _oid(answer)

    def _placed_by_0(self, order: NewOrder, amount: Decimal) -> str:
        """Version 0 answers with all open orders: ours was not there before, and is what was asked for."""
        _units(amount, order.asset, "amount")
        form = {"amount": plain(amount)}
        if order.price is not None:
            _units(order.price, order.currency, "price")
            form["price"] = plain(order.price)
        form["Currency"] = order.currency
        before = {state.exchange_order_id for state in self.open_orders()}
        answer = self.api.private("buyBTC.php" if order.side == "buy" else "sellBTC.php", form)
        with parsing_errors(self.name, mutates=True):
            asked = (order.side, order.currency, order.asset, order.amount, order.price)
            found = [
                state.exchange_order_id
                for state in map(_open_order, answer["orders"])
                if state.exchange_order_id not in before
                and (state.side, state.currency, state.asset, state.amount, state.price) == asked
            ]
            if len(found) != 1:
                raise ValueError(f"{len(found)} new orders in the list")
            return found[0]

    def _cancel(self, oid: str, currency: str, asset: str) -> None:
        try:
            answer = self.api.private(self._call("cancel", currency, asset), {"oid": oid})
        except Refused as error:
            if error.code == "unknown_order":
                raise Refused(error.words, code="order_not_open") from error
            raise
        if self.api.version != 0:
            with parsing_errors(self.name, mutates=True):
                if answer["oid"] != oid:
                    raise ValueError("another order")

    def _result(self, ref: OrderRef) -> Any:
        """The trades of an order; None when there are none (yet): the exchange does not know the id then."""
        form = {"type": _WORDS_OF_SIDES[ref.side], "order": _known(ref)}
        try:
            result = self.api.private(self._call("result"), form)
        except Refused as error:
            if error.code == "unknown_order":
                return None
            raise
        with parsing_errors(self.name):
            if result.get("order_id", form["order"]) != form["order"]:
                raise ValueError("another order")
            return result if result["trades"] else None

    def _with_fee(self, state: OrderState, result: Mapping[str, Any]) -> OrderState:
        """The fee is told by the wallet history alone: of the asset for a buy, of the currency for a sell."""
        where = (state.asset if state.side == "buy" else state.currency) or ""
        try:
            rows = self._history(where)
            with parsing_errors(self.name):
                wanted = {trade["trade_id"] for trade in result["trades"]}
                booked = [row for row in rows if _trade_id(row) in wanted]
                fee = total(_money(row["Value"], where) for row in booked if row["Type"] == "fee")
        except Refused:
            return state
        if {_trade_id(row) for row in booked} != wanted:
            return state
        return replace(state, fee=fee, fee_currency=where)

    def _history(self, currency: str) -> list[Mapping[str, Any]]:
        """The newest 50 rows of a wallet."""
        answer = self.api.private(self._call("history"), {"currency": currency})
        with parsing_errors(self.name):
            return list(answer["result"])

    def _booked(self, kind: str, asset: str | None) -> list[tuple[str, Mapping[str, Any]]]:
        """Rows of one type, newest first: of one wallet, or of all there are."""
        names = [asset] if asset is not None else sorted(self.funds())
        with parsing_errors(self.name):
            rows = [(name, row) for name in names for row in self._history(name) if row["Type"] == kind]
            return sorted(rows, key=lambda row: int(row[1]["Date"]), reverse=True)


def _api(context: ExchangeContext, url: str) -> MtGoxAPI:
    keys = context.credentials
    version = _VERSIONS.get(keys.more.get("version", ""))
    if version is None:
        raise Refused("the version of Mt.Gox's API is 0, 1 or 2", code="invalid_request")
    return MtGoxAPI(
        url,
        keys.apikey,
        keys.apisecret,
        version=version,
        transport=context.transport,
        nonce=context.nonce,
        throttle=context.throttle,
        cache=context.cache,
    )


def _market(currency: str) -> Market:
    return Market(currency, "BTC", price_step=Decimal(1).scaleb(-_digits(currency)), amount_step=Decimal("1E-8"))


def _rate(ticker: Mapping[str, Any], currency: str) -> Rate:
    """Mt.Gox's "buy" is the best bid, what a seller gets; its "sell" is the best ask. Ours are the user's: swapped."""
    buy, sell = (
        _money(price, currency) if isinstance(price, dict) else _noisy(price, currency)
        for price in (ticker["sell"], ticker["buy"])
    )
    if not 0 < sell <= buy:
        raise ValueError("no bid below the ask")
    return Rate(buy=buy, sell=sell, time=_moment(ticker["now"]) if "now" in ticker else datetime.now(UTC))


def _funds(wallet: Mapping[str, Any], currency: str) -> Funds:
    """Answers of 2012 lack Open_Orders. Orders needed no funds, so they may hold more than there is."""
    owned = _money(wallet["Balance"], currency)
    held = _money(wallet["Open_Orders"], currency) if "Open_Orders" in wallet else None
    if owned < 0 or (held is not None and held < 0):
        raise ValueError("a negative balance")
    free = None if held is None or held > owned else EXACT.subtract(owned, held)
    return Funds(owned, free, held)


def _open_order(row: Mapping[str, Any]) -> OrderState:
    """A row of the open orders. Whatever its status word, it is open: also "invalid", which waits for funds."""
    currency, asset = row["currency"], row["item"]
    return OrderState(
        _oid(row["oid"]),
        "open",
        side=_TYPES[str(row["type"])],
        currency=currency,
        asset=asset,
        amount=_of_order(row, "amount", asset),
        price=_of_order(row, "price", currency) if "price" in row else None,
        created=datetime.fromtimestamp(int(row["date"]), UTC),
    )


def _of_order(row: Mapping[str, Any], field: str, currency: str) -> Decimal:
    """An amount of an order: a money object, or in version 0 plain fields."""
    return _money(row[field], currency) if isinstance(row[field], dict) else _scaled(row[f"{field}_int"], currency)


def _with_result(state: OrderState, result: Mapping[str, Any]) -> OrderState:
    """The average is that of the trades; "avg_cost" is made of the rounded sum."""
    currency, asset = state.currency or "", state.asset or ""
    trades = [(_money(trade["amount"], asset), _money(trade["price"], currency)) for trade in result["trades"]]
    filled = _money(result["total_amount"], asset)
    if filled != total(amount for amount, _ in trades):
        raise ValueError("a sum that is not the sum of the trades")
    if state.status != "open" and state.amount is not None and filled > state.amount:
        raise ValueError("more than was ordered")
    status: Status = state.status
    if status != "open" and state.amount is not None:
        status = "filled" if filled == state.amount else "partly_filled"
    return replace(
        state,
        status=status,
        filled=filled,
        spent=_money(result["total_spent"], currency),
        average=mean(total(EXACT.multiply(amount, price) for amount, price in trades), filled),
    )


def _fills(things: list[Mapping[str, Any]], money: list[Mapping[str, Any]], currency: str, asset: str) -> list[Fill]:
    """Trades by both sides of the booking; the price stands only in the sentence of the asset's row."""
    paid = {_trade_id(row) for row in money if row["Type"] != "fee"}
    fees = {
        _trade_id(row): (_money(row["Value"], name), name)
        for rows, name in ((things, asset), (money, currency))
        for row in rows
        if row["Type"] == "fee"
    }
    fills = []
    for row in things:
        trade = _trade_id(row)
        if row["Type"] not in _TRADES or trade is None or trade not in paid:
            continue
        fee, fee_currency = fees.get(trade, (None, None))
        fills.append(
            Fill(
                id=trade,
                exchange_order_id=row["Trade"].get("oid"),
                side=_TRADES[row["Type"]],
                currency=currency,
                asset=asset,
                amount=_money(row["Value"], asset),
                price=_price_in_words(row["Info"], currency),
                fee=fee,
                fee_currency=fee_currency,
                time=_row_time(row),
            )
        )
    return sorted(fills, key=lambda fill: (fill.time, int(fill.id)), reverse=True)


def _price_in_words(sentence: str, currency: str) -> Decimal:
    """The price in "BTC bought: [tid:1366034751500724] 0.00010789 BTC at $97.96898 (0.6% fee)"; the sign varies."""
    found = re.search(r" at ([^(]+)", sentence)
    text = re.sub(r"[^0-9.]", "", found[1]) if found else ""
    if not re.fullmatch(rf"\d{{1,15}}\.\d{{{_digits(currency)}}}", text, re.ASCII):
        raise ValueError("no price in the sentence")
    return Decimal(text)


def _known(ref: OrderRef) -> str:
    try:
        return _oid(ref.exchange_order_id)
    except ValueError:
        raise Refused("Mt.Gox knows orders by its own id alone", code="unknown_order") from None


def _oid(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[0-9A-Za-z-]{8,64}", text, re.ASCII):
        raise ValueError("no order id")
    return text


def _trade_id(row: Mapping[str, Any]) -> str | None:
    trade = row.get("Trade")
    return str(trade["tid"]) if trade else None


def _row_id(row: Mapping[str, Any]) -> str:
    """The bitcoin transaction where the row names it, as the answer to the send did; else the row's own id."""
    return _transaction(row) or str(row["Link"][0])


def _transaction(row: Mapping[str, Any]) -> str | None:
    return next((text for text in row["Link"] if re.fullmatch(r"[0-9a-f]{64}", text, re.ASCII)), None)


def _row_time(row: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(int(row["Date"]), UTC)


def _address(row: Mapping[str, Any]) -> str | None:
    """The sentence of a bitcoin transfer is its address alone."""
    return row["Info"] if re.fullmatch(r"[13][1-9A-HJ-NP-Za-km-z]{25,34}", row["Info"], re.ASCII) else None


def _only_bitcoin(asset: str, network: str | None) -> None:
    if asset != "BTC" or network not in (None, "bitcoin"):
        raise Unsupported("Mt.Gox has addresses for BTC on the bitcoin network alone")
