"""Kraken: its spot REST API (`KrakenAPI`), and our verbs said in it (`Kraken`).

Sources: docs.kraken.com, the pages "Spot REST Authentication", "Spot REST Introduction", "Spot REST Rate Limits",
"Error messages", "Spot Client Order Identifiers", "API keys", "Add Order", "Get Extended Balance", "Get API Key Info"
and "Withdraw Funds"; what they leave open was seen in client libraries and recorded answers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlencode

from ..money import EXACT, mean, parse_decimal, parse_unsigned, plain
from ..transport import Request, Transport
from .base import Exchange, ExchangeContext, Field, RateLimit, Throttle, no_throttle
from .errors import Busy, ExchangeError, Refused
from .http import parsing_errors, retry_after, send, unknown_or_refused
from .models import (
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
from .orders import poll_until_final
from .rules import check, no_such_market

if TYPE_CHECKING:
    from ..transport import Response

__all__ = ["URL", "Kraken", "KrakenAPI"]

_K = TypeVar("_K")
_V = TypeVar("_V")

URL = "https://api.kraken.com"

# --- the exchange's own API -------------------------------------------------------------------------------------------

#: Private calls that execute nothing. Any other one is taken as a call that may move money.
_READS = {
    *("Balance", "BalanceEx", "CreditLines", "TradeBalance", "TradeVolume", "Ledgers", "QueryLedgers"),
    *("OpenOrders", "ClosedOrders", "QueryOrders", "OrderAmends", "TradesHistory", "QueryTrades", "OpenPositions"),
    *("DepositMethods", "DepositAddresses", "DepositStatus"),
    *("WithdrawMethods", "WithdrawAddresses", "WithdrawInfo", "WithdrawStatus"),
    *("GetApiKeyInfo", "GetWebSocketsToken"),
}

#: Where any error means that nothing was done ("Error messages"). Of the other kinds only what is in `_CODES` does:
#: `EService`, `EDatabase` and an internal error leave it open whether an order stands.
_DECIDED = ("EAPI:", "EAccount:", "EAuth:", "EBM:", "EFunding:", "EOrder:", "EQuery:", "ETrade:")
_BUSY = (
    "EAPI:Rate limit exceeded",
    "EGeneral:Too many requests",
    "EAuth:Rate limit exceeded",
    "EOrder:Rate limit exceeded",
    "EOrder:Domain rate limit exceeded",
)
_THROTTLED = "EService: Throttled:"
#: Seconds to wait when Kraken does not say how long, and at most.
_PAUSE, _LONG = 5.0, 600.0
#: The start of an error's text -> our code; the first that fits. What is not listed stays exchange_refused.
_CODES = {
    "EAPI:Invalid key": "exchange_key_refused",
    "EAPI:Invalid signature": "exchange_key_refused",
    "EAPI:Invalid nonce": "invalid_nonce",
    "EAPI:Bad request": "invalid_request",
    "EAuth:Failed": "exchange_key_refused",
    "EAuth:Account": "permission_denied",
    "EAccount:Invalid permissions": "permission_denied",
    "ETrade:User Locked": "permission_denied",
    "EGeneral:Temporary lockout": "exchange_key_refused",
    "EGeneral:Permission denied": "permission_denied",
    "EGeneral:Invalid arguments:volume": "invalid_amount",
    "EGeneral:Invalid arguments:price": "invalid_price",
    "EGeneral:Invalid arguments": "invalid_request",
    "EGeneral:Unknown method": "invalid_request",
    "EQuery:Unknown asset pair": "unknown_market",
    "EQuery:Invalid asset pair": "unknown_market",
    "EQuery:Unknown asset": "unknown_asset",
    "EOrder:Insufficient funds": "insufficient_funds",
    "EOrder:Order minimum not met": "invalid_amount",
    "EOrder:Cost minimum not met": "invalid_amount",
    "EOrder:Tick size check failed": "invalid_price",
    "EOrder:Invalid price": "invalid_price",
    "EOrder:Unknown order": "order_not_found",
    "EOrder:Invalid order": "order_not_found",
    "EFunding:Unknown asset": "unknown_asset",
    "EFunding:No funding method": "unknown_asset",
    "EFunding:Unknown withdraw key": "address_not_registered",
    "EFunding:Invalid amount": "invalid_amount",
    "EService:Market in": "exchange_unavailable",
}
_RETRYABLE = {"exchange_unavailable", "invalid_nonce"}


class KrakenAPI:
    """Every call of Kraken's spot REST API, signed.

    `KrakenAPI().public("Ticker", {"pair": "XBTEUR"})`, `KrakenAPI(key, secret).private("OpenOrders")`. A call returns
    the `result` of the answer, its numbers exact; warnings beside it are in `response`. Raises what an adapter raises:
    Refused, Busy, and Unknown when a call that moves something may have been executed; and errors.InvalidRequest for a
    float. Nothing is repeated.

    `secret` is base64 text; Refused when it does not decode. `url`: another base URL. `session`: a requests.Session of
    the caller's, `transport`: a Transport to share. `nonce` gives strictly rising integers for this key; without it
    they are microseconds since 1970. A key that was used with larger ones (nanoseconds) needs larger ones for ever.
    """

    def __init__(
        self,
        key: str = "",
        secret: str = "",
        *,
        url: str = URL,
        session: Any = None,
        transport: Transport | None = None,
        nonce: Callable[[], int] | None = None,
        throttle: Throttle = no_throttle,
    ) -> None:
        self.url = url.rstrip("/")
        self.session = session
        #: The last answer, complete; None before the first.
        self.response: Response | None = None
        self._transport = transport or Transport(session=session)
        self._nonce = nonce or _Clock().tick
        self._throttle = throttle
        self._keep(key, secret)

    def __repr__(self) -> str:
        return f"KrakenAPI({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def load_key(self, path: str | Path) -> None:
        """Take the key and the secret from the first two lines of a file."""
        key, _, rest = Path(path).read_text(encoding="utf-8").partition("\n")
        self._keep(key.strip(), rest.partition("\n")[0].strip())

    def public(self, method: str, data: Mapping[str, object] | None = None) -> Any:
        """The result of a public call. Values that are None are left out."""
        query = urlencode(_fields(data))
        url = f"{self.url}/0/public/{method}" + (f"?{query}" if query else "")
        with self._throttle(method, signed=False):
            return self._send(Request("GET", url, {}), mutates=False)

    def private(self, method: str, data: Mapping[str, object] | None = None) -> Any:
        """The result of a private call. Values that are None are left out; with a list or dict the body is JSON."""
        with self._throttle(method, signed=True):
            return self._send(self.signed(method, data), mutates=method not in _READS)

    def signed(self, method: str, data: Mapping[str, object] | None = None, *, nonce: int | None = None) -> Request:
        """The signed request of a private call, ready to send; nothing is sent here.

        "Spot REST Authentication": API-Sign is the HMAC-SHA512 under the decoded secret of the path and the SHA-256 of
        nonce and body. Raises Refused without a key and a secret.
        """
        if not (self._key and self._secret):
            raise Refused("Kraken needs an API key and its private key", code="exchange_key_refused")
        count = str(self._nonce() if nonce is None else nonce)
        fields: dict[str, Any] = {"nonce": count, **_fields(data)}
        if any(isinstance(value, (list, dict)) for value in fields.values()):
            kind, body = "application/json", json.dumps(fields)
        else:
            kind, body = "application/x-www-form-urlencoded", urlencode(fields)
        path = f"/0/private/{method}"
        inner = hashlib.sha256(f"{count}{body}".encode()).digest()
        mac = hmac.new(self._secret, path.encode() + inner, hashlib.sha512)
        headers = {
            "API-Key": self._key,
            "API-Sign": base64.b64encode(mac.digest()).decode(),
            "Content-Type": kind,
        }
        return Request("POST", self.url + path, headers, body.encode())

    def _keep(self, key: str, secret: str) -> None:
        if not (key.isascii() and key.isprintable()):
            raise Refused("this is not an API key of Kraken", code="exchange_key_refused")
        try:
            self._key, self._secret = key, base64.b64decode(secret, validate=True)
        except (binascii.Error, ValueError):
            raise Refused(
                "a private key of Kraken is base64 text, and this one does not decode", code="exchange_key_refused"
            ) from None

    def _send(self, request: Request, *, mutates: bool) -> Any:
        answer = self.response = send(self._transport, request, "Kraken", mutates=mutates)
        try:
            document = answer.json()
        except ValueError:
            document = None
        errors = document.get("error") if isinstance(document, dict) else None
        if isinstance(errors, list):
            # Errors come with status 200; entries that begin with W are warnings beside a result.
            failures = [str(entry) for entry in errors if str(entry).startswith("E")]
            if failures:
                raise _failure(failures, mutates=mutates)
            if answer.status == 200 and "result" in document:
                return document["result"]
        if answer.status == 429:
            seconds = retry_after(answer, seconds=_PAUSE)
            raise Busy("Kraken says: too many requests", retry_after=min(seconds, _LONG))
        raise unknown_or_refused(f"Kraken's answer (HTTP {answer.status}) cannot be read", mutates=mutates)


class _Clock:
    """Nonces for one key in one program: microseconds since 1970, strictly rising."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def tick(self) -> int:
        with self._lock:
            self._last = max(self._last + 1, time.time_ns() // 1000)
            return self._last


def _fields(data: Mapping[str, object] | None) -> dict[str, Any]:
    """Parameters as Kraken reads them: amounts in plain digits, booleans in lower case."""
    return {name: _field(name, value) for name, value in (data or {}).items() if value is not None}


def _field(name: str, value: object) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (Decimal, float)):
        return plain(value, name)  # type: ignore[arg-type]  # it refuses floats with the words that help
    if isinstance(value, Mapping):
        return _fields(value)
    if isinstance(value, (list, tuple)):
        return [_field(name, entry) for entry in value]
    return str(value)


def _failure(failures: list[str], *, mutates: bool) -> ExchangeError:
    words = "; ".join(failures)[:300]
    for text in failures:
        if text.startswith(_THROTTLED):
            moment = _whole(text.removeprefix(_THROTTLED).strip(), default=0)
            return Busy(words, retry_after=max(1.0, min(moment - time.time(), _LONG)))
        if text.startswith(_BUSY):
            # The counter falls by 0.33 to 1 a second ("Spot REST Rate Limits"); calls while it is full make it longer.
            return Busy(words, retry_after=_PAUSE)
    if all(text.startswith((*_DECIDED, *_CODES)) for text in failures):
        code = next((code for start, code in _CODES.items() if failures[0].startswith(start)), "exchange_refused")
        return Refused(words, code=code, retryable=code in _RETRYABLE)
    return unknown_or_refused(words, mutates=mutates)


def _whole(text: str, *, default: float) -> float:
    return float(text) if text.isascii() and text.isdigit() else default


# --- names ------------------------------------------------------------------------------------------------------------

#: Kraken's altnames that differ from the common names, or clash with another asset's (as ccxt 4.5 maps them).
_COMMON = {
    "XBT": "BTC",
    "XDG": "DOGE",
    "LUNA": "LUNC",
    "LUNA2": "LUNA",
    "UST": "USTC",
    "REPV2": "REP",
    "REP": "REPV1",
}
#: Fee credits; no money.
_CREDITS = "KFEE"
#: Seconds for which what is listed there is not asked again.
_LISTED = 3600.0


@dataclass(frozen=True, slots=True)
class _Pair:
    key: str
    altname: str
    market: Market


def _name(altname: str) -> str:
    return _COMMON.get(altname, altname)


def _read_assets(rows: Mapping[str, Any]) -> dict[str, str]:
    return {key: _name(row["altname"]) for key, row in rows.items()}


def _read_pairs(rows: Mapping[str, Any]) -> dict[tuple[str, str], _Pair]:
    """The `wsname` has both altnames, "XBT/EUR"; a pair without one is no open market."""
    pairs = {}
    for key, row in rows.items():
        if "wsname" not in row or row.get("status") == "cancel_only":
            continue
        asset, currency = (_name(altname) for altname in row["wsname"].split("/"))
        pairs[currency, asset] = _Pair(
            key=key,
            altname=row["altname"],
            market=Market(
                currency=currency,
                asset=asset,
                price_step=parse_decimal(row["tick_size"]) if "tick_size" in row else _step(row["pair_decimals"]),
                amount_step=_step(row["lot_decimals"]),
                amount_min=parse_decimal(row["ordermin"]) if "ordermin" in row else None,
                cost_min=parse_decimal(row["costmin"]) if "costmin" in row else None,
            ),
        )
    return pairs


def _step(places: int) -> Decimal:
    return Decimal((0, (1,), -places))


# --- the adapter ------------------------------------------------------------------------------------------------------

_STATUS: dict[str, Status] = {"pending": "open", "open": "open", "closed": "filled"}
_OVER = {"canceled", "expired"}
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
_MOVED: dict[str, Literal["pending", "done", "failed"]] = {
    **dict.fromkeys(("Initial", "Pending", "Settled"), "pending"),
    "Success": "done",
    "Failure": "failed",
}
#: Which of several ways in is meant when nobody says; any other choice would be a guess.
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
        pair = self._pair(currency, asset)
        rows = self.api.public("Ticker", {"pair": pair.key})
        with parsing_errors("Kraken"):
            row = _only(rows)
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
        with parsing_errors("Kraken"):
            return {_line(key, assets): _funds(row) for key, row in rows.items() if key != _CREDITS}

    def place(self, order: NewOrder) -> OrderState:
        pair = self._pair(order.currency, order.asset)
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
        with parsing_errors("Kraken", mutates=True):
            txid = _only(result["txid"])
            if not (isinstance(txid, str) and txid):
                raise ValueError("no id")
        accepted = OrderState(
            exchange_order_id=txid,
            status="open",
            side=order.side,
            currency=order.currency,
            asset=order.asset,
            amount=order.amount,
            price=order.price,
            client_id=order.client_id,
        )
        if order.price is not None:
            return accepted
        ref = OrderRef(order.side, order.currency, order.asset, order.client_id, exchange_order_id=txid)
        return poll_until_final(accepted, lambda: self.order(ref))

    def order(self, ref: OrderRef) -> OrderState:
        rows = self.api.private("QueryOrders", {"txid": ref.exchange_order_id})
        pairs = self._pairs()
        with parsing_errors("Kraken"):
            state = _state(ref.exchange_order_id or "", rows[ref.exchange_order_id], pairs)
            told = (state.side, state.currency, state.asset)
            if told != (ref.side, ref.currency, ref.asset) or state.client_id not in (None, ref.client_id):
                raise ValueError("another order than the one asked for")
        return state

    def find(self, ref: OrderRef) -> OrderState | None:
        """Open orders are asked first: an order that is filled between the two questions is seen by the second."""
        pairs = self._pairs()
        for method, key in (("OpenOrders", "open"), ("ClosedOrders", "closed")):
            result = self.api.private(method, {"cl_ord_id": ref.client_id})
            with parsing_errors("Kraken"):
                states = [_state(txid, row, pairs) for txid, row in result[key].items()]
                if any(state.client_id != ref.client_id for state in states):
                    # Of all orders only the last 50 come, so ours may be among those that did not.
                    raise ValueError("orders with other ids than the one asked for")
            if states:
                return states[0]
        return None

    def open_orders(self) -> list[OrderState]:
        pairs = self._pairs()
        result = self.api.private("OpenOrders")
        with parsing_errors("Kraken"):
            return [_state(txid, row, pairs) for txid, row in result["open"].items()]

    def cancel(self, ref: OrderRef) -> None:
        by = {"cl_ord_id": ref.client_id} if ref.exchange_order_id is None else {"txid": ref.exchange_order_id}
        try:
            result = self.api.private("CancelOrder", by)
        except Refused as refusal:
            if refusal.code == "order_not_found":
                # Kraken says the same of orders that are over and of orders that never were.
                raise Refused(refusal.words, code="order_not_open") from None
            raise
        with parsing_errors("Kraken", mutates=True):
            if int(parse_decimal(result["count"])) == 0:
                raise Refused("Kraken canceled nothing", code="order_not_open")

    def cancel_all(self) -> int:
        result = self.api.private("CancelAll")
        with parsing_errors("Kraken", mutates=True):
            return int(parse_decimal(result["count"]))

    def fills(self, currency: str, asset: str) -> list[Fill]:
        """TradesHistory tells those of all pairs, 50 a page; a few pages are read."""
        pair = self._pair(currency, asset)
        fills: dict[str, Fill] = {}
        for page in range(_PAGES):
            result = self.api.private("TradesHistory", {"ofs": page * _PAGE})
            with parsing_errors("Kraken"):
                rows = result["trades"]
                mine = {name: row for name, row in rows.items() if row["pair"] in (pair.key, pair.altname)}
                fills |= {name: _fill(name, row, pair) for name, row in mine.items()}
                over = len(rows) < _PAGE or (page + 1) * _PAGE >= int(parse_decimal(result["count"]))
            if over or len(fills) >= _PAGE:
                break
        return sorted(fills.values(), key=lambda fill: fill.time, reverse=True)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        """`network` is one of Kraken's deposit methods; needed where an asset has several."""
        key = self._asset(asset)
        rows = self.api.private("DepositMethods", {"asset": key})
        with parsing_errors("Kraken"):
            method = _method(asset, [str(row["method"]) for row in rows], network)
        asked = {"asset": key, "method": method}
        # An address comes again until a new one is asked for; the very first time there may be none.
        rows = self.api.private("DepositAddresses", asked)
        rows = rows or self.api.private("DepositAddresses", asked | {"new": True})
        with parsing_errors("Kraken"):
            row = rows[0]
            return DepositAddress(asset, _text(row["address"]), _tag(row), method)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """Kraken sends only to addresses of its own address book, by their names: the book is read first."""
        key = self._asset(withdrawal.asset)
        row = self._registered(withdrawal, key)
        form = {"asset": key, "key": row["key"], "address": withdrawal.address, "amount": withdrawal.amount}
        result = self.api.private("Withdraw", form)
        with parsing_errors("Kraken", mutates=True):
            return Withdrawal(
                id=_text(result["refid"]),
                asset=withdrawal.asset,
                amount=withdrawal.amount,
                status="pending",
                address=withdrawal.address,
                tag=withdrawal.tag,
                network=row["method"],
            )

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        rows, assets = self._transfers("DepositStatus", asset)
        with parsing_errors("Kraken"):
            return [
                Deposit(
                    id=_text(row["refid"]),
                    asset=_line(row["asset"], assets),
                    amount=parse_unsigned(row["amount"]),
                    # "return": Kraken sends it back.
                    status="failed" if row.get("status-prop") == "return" else _MOVED.get(row["status"], "pending"),
                    address=row.get("info"),
                    network=row.get("method"),
                    txid=row.get("txid"),
                    time=_time(row["time"]),
                )
                for row in rows
            ]

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows, assets = self._transfers("WithdrawStatus", asset)
        with parsing_errors("Kraken"):
            return [
                Withdrawal(
                    id=_text(row["refid"]),
                    asset=_line(row["asset"], assets),
                    amount=parse_unsigned(row["amount"]),
                    status=_MOVED.get(row["status"], "unknown"),
                    address=row.get("info"),
                    network=row.get("method"),
                    fee=parse_unsigned(row["fee"]) if "fee" in row else None,
                    txid=row.get("txid"),
                    created=_time(row["time"]),
                )
                for row in rows
            ]

    def permissions(self) -> frozenset[str]:
        """From GetApiKeyInfo, which needs no right itself."""
        result = self.api.private("GetApiKeyInfo")
        ours = {"query-funds": "read", "modify-trades": "trade", "withdraw-funds": "send"}
        with parsing_errors("Kraken"):
            return frozenset(ours[right] for right in result["permissions"] if right in ours)

    # --- what the verbs share ---

    def _assets(self) -> Mapping[str, str]:
        """An asset's key ("XXBT") -> its common name ("BTC")."""
        return self._listed("Assets", _read_assets)

    def _pairs(self) -> Mapping[tuple[str, str], _Pair]:
        """(currency, asset) -> the pair."""
        return self._listed("AssetPairs", _read_pairs)

    def _listed(self, method: str, read: Callable[[Any], Mapping[_K, _V]]) -> Mapping[_K, _V]:
        def fetch() -> Mapping[_K, _V]:
            rows = self.api.public(method)
            with parsing_errors("Kraken"):
                return read(rows)

        listed: Mapping[_K, _V] = self.context.cache.get_or_fetch(method, fetch, seconds=_LISTED)
        return listed

    def _pair(self, currency: str, asset: str) -> _Pair:
        pairs = self._pairs()
        if (pair := pairs.get((currency, asset))) is None:
            raise no_such_market("Kraken", currency, asset, pairs)
        return pair

    def _asset(self, name: str) -> str:
        """The key of the asset with this common name."""
        for key, common in self._assets().items():
            if common == name:
                return key
        raise Refused(f"Kraken does not list {name}", code="unknown_asset")

    def _transfers(self, method: str, asset: str | None) -> tuple[list[Any], Mapping[str, str]]:
        assets = self._assets()
        rows = self.api.private(method, {"asset": None if asset is None else self._asset(asset)})
        with parsing_errors("Kraken"):
            return sorted(rows, key=lambda row: parse_decimal(row["time"]), reverse=True), assets

    def _registered(self, withdrawal: NewWithdrawal, key: str) -> Mapping[str, str]:
        """The row of the address book that is exactly where `withdrawal` is to go."""
        rows = self.api.private("WithdrawAddresses", {"asset": key})
        with parsing_errors("Kraken"):
            known = [row for row in rows if row["address"] == withdrawal.address]
            fitting: list[Mapping[str, str]] = [
                row
                for row in known
                if row["verified"] is True
                and _tag(row) == withdrawal.tag
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
            raise _which_network(withdrawal.asset, networks)
        return fitting[0]


# --- reading answers --------------------------------------------------------------------------------------------------


def _only(rows: Any) -> Any:
    """The single thing in a list, or the single value of a dict: Kraken answers by another name than it was asked."""
    [row] = rows.values() if isinstance(rows, dict) else rows
    return row


def _text(value: object) -> str:
    if not (isinstance(value, str) and value):
        raise ValueError("no text")
    return value


def _time(seconds: object) -> datetime:
    microseconds = int(EXACT.multiply(parse_decimal(seconds), Decimal(1_000_000)))
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def _line(key: str, assets: Mapping[str, str]) -> str:
    """The name of a balance line: "XXBT" is BTC, "XBT.F" is BTC.F; what Assets does not list keeps its name."""
    base, dot, suffix = key.partition(".")
    return assets.get(base, _name(base)) + dot + suffix


def _funds(row: Mapping[str, Any]) -> Funds:
    """By "Get Extended Balance", available = balance + credit - credit_used - hold_trade."""
    total, held = parse_unsigned(row["balance"]), parse_unsigned(row.get("hold_trade", 0))
    credit = EXACT.subtract(parse_unsigned(row.get("credit", 0)), parse_unsigned(row.get("credit_used", 0)))
    return Funds(total=total, available=EXACT.subtract(EXACT.add(total, credit), held), held=held)


def _state(txid: str, row: Mapping[str, Any], pairs: Mapping[tuple[str, str], _Pair]) -> OrderState:
    """An order object of QueryOrders, OpenOrders or ClosedOrders; `descr.pair` is the altname."""
    about, flags = row["descr"], row["oflags"].split(",")
    market = next((pair.market for pair in pairs.values() if about["pair"] in (pair.altname, pair.key)), None)
    currency, asset = (None, None) if market is None else (market.currency, market.asset)
    filled, spent = parse_unsigned(row["vol_exec"]), parse_unsigned(row["cost"])
    if (status := _STATUS.get(row["status"])) is None:
        if row["status"] not in _OVER:
            raise ValueError(f"status {row['status']!r}")
        status = "partly_filled" if filled else "canceled"
    return OrderState(
        exchange_order_id=txid,
        status=status,
        side=_SIDES[about["type"]],
        currency=currency,
        asset=asset,
        # With `viqc` the volume counts the currency.
        amount=None if "viqc" in flags else parse_unsigned(row["vol"]),
        price=parse_unsigned(about["price"]) if about["ordertype"] in ("limit", "iceberg") else None,
        filled=filled,
        average=mean(spent, filled),
        spent=spent,
        fee=parse_unsigned(row["fee"]),
        fee_currency=currency if "fciq" in flags else asset if "fcib" in flags else None,
        client_id=_client_id(row.get("cl_ord_id")),
        created=_time(row["opentm"]),
    )


def _client_id(told: str | None) -> str | None:
    """Kraken takes a UUID with and without dashes; ours has none."""
    return told.replace("-", "").lower() if told and len(told) == 36 else told


def _fill(id: str, row: Mapping[str, Any], pair: _Pair) -> Fill:
    return Fill(
        id=id,
        exchange_order_id=row["ordertxid"],
        side=_SIDES[row["type"]],
        currency=pair.market.currency,
        asset=pair.market.asset,
        amount=parse_unsigned(row["vol"]),
        price=parse_unsigned(row["price"]),
        fee=parse_unsigned(row["fee"]),
        fee_currency=pair.market.currency,
        time=_time(row["time"]),
    )


def _tag(row: Mapping[str, Any]) -> str | None:
    """Seen as `tag` (XRP) and as `memo` (EOS and its like)."""
    return row.get("tag") or row.get("memo")


def _method(asset: str, offered: Iterable[str], network: str | None) -> str:
    methods = list(offered)
    wanted = network or _USUAL_METHOD.get(asset)
    for method in methods:
        if wanted is not None and method.casefold() == wanted.casefold():
            return method
    if network is None and len(methods) == 1:
        return methods[0]
    raise _which_network(asset, methods)


def _which_network(asset: str, networks: Iterable[str]) -> Refused:
    return Refused(f"name the network for {asset}: {', '.join(networks)}"[:300], code="network_required")
