"""The API: an XWrap is a server that holds exchange keys, a Backend is one exchange registration on it.

    >>> xwrap = XWrap("https://xwrap.example.org")
    >>> backend = xwrap.list_backends("ann", "password", "kraken")[0]
    >>> backend.balance()
    {'USD': Decimal('1000.00'), 'BTC': Decimal('0.5')}
    >>> backend.buy("USD", "BTC", "0.1")["filled"]
    Decimal('0.1')

Amounts are Decimal, int or decimal text on the way in and Decimal on the way out, with exactly the digits that came.
Every failure is an APIError (see `errors`).
"""

from __future__ import annotations

import base64
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn, NotRequired, TypedDict, TypeVar, cast
from urllib.parse import urlencode

from . import __version__
from .errors import APIError, InvalidRequest, OutcomeUnknown, RateLimited, Unavailable, refusal, undecided
from .money import parse_decimal, plain
from .transport import Request, Response, Transport, base_url

if TYPE_CHECKING:
    import requests

__all__ = [
    "Backend",
    "Balance",
    "Deposit",
    "DepositAddress",
    "Exchange",
    "ExchangeRate",
    "Fill",
    "Funds",
    "Market",
    "Order",
    "Rate",
    "Withdrawal",
    "XWrap",
]

Amount = Decimal | int | str
_T = TypeVar("_T")


class Exchange(TypedDict):
    """An exchange that the server can speak to; it may tell more."""

    id: str
    name: str
    description: str


class Rate(TypedDict):
    """What one unit of the asset costs you (`buy`) and brings you (`sell`) now, in the currency."""

    buy: Decimal
    sell: Decimal


class ExchangeRate(Rate):
    """The rate at one exchange; `time` is ISO 8601 text, which a server of 2013 did not tell."""

    exchange: str
    time: NotRequired[str]


class _Balance(TypedDict):
    id: int
    exchange: str
    balance: dict[str, Decimal]


class Balance(_Balance, total=False):
    """The balance of one registration; where its exchange failed, `balance` is empty and `error` says why."""

    error: str


class Order(TypedDict, total=False):
    """An order as the server knows it; None is what nobody can tell (yet)."""

    id: int
    key: str
    exchange_order_id: str | None
    side: str
    type: str
    currency: str
    asset: str
    amount: Decimal | None
    price: Decimal | None
    cost: Decimal | None
    status: str
    filled: Decimal | None
    average: Decimal | None
    spent: Decimal | None
    fee: Decimal | None
    fee_currency: str | None
    created: str
    updated: str


class Funds(TypedDict):
    """What is owned of one currency or asset; None is what the exchange does not tell."""

    total: Decimal | None
    available: Decimal | None
    held: Decimal | None


class Market(TypedDict):
    """One pair and its rules; None is no such rule, or one that is not told."""

    currency: str
    asset: str
    price_step: Decimal | None
    amount_step: Decimal | None
    amount_min: Decimal | None
    cost_min: Decimal | None


class Fill(TypedDict):
    """One execution of an order, or of a part of it."""

    id: str
    exchange_order_id: str | None
    side: str
    currency: str
    asset: str
    amount: Decimal
    price: Decimal
    fee: Decimal | None
    fee_currency: str | None
    time: str


class Withdrawal(TypedDict, total=False):
    """A send as the server knows it; `status` is pending, done, failed, rejected or unknown."""

    id: int
    key: str
    asset: str
    amount: Decimal
    fee: Decimal | None
    address: str
    tag: str | None
    network: str | None
    txid: str | None
    status: str
    created: str


class DepositAddress(TypedDict):
    """Where to send an asset to; with a `tag`, both are needed or the money is lost."""

    asset: str
    address: str
    tag: str | None
    network: str | None


class Deposit(DepositAddress, total=False):
    """Something that came in; `status` is pending, done or failed."""

    id: str
    amount: Decimal
    status: str
    txid: str | None
    time: str | None


class XWrap:
    """A server that speaks to exchanges for its accounts.

    `baseurl`: XWRAP_URL from the environment when not given, else http://localhost:8000; plain http to another machine
    is refused unless `insecure`. `timeout`: seconds for a whole call, repeats included. `session`: a requests.Session
    whose proxies, certificates and adapters are to be used. An XWrap and the Backends it hands out share their
    connections; they may be used from many threads and after a fork.
    """

    def __init__(
        self,
        baseurl: str | None = None,
        *,
        timeout: float = 30,
        session: requests.Session | None = None,
        insecure: bool = False,
    ) -> None:
        self._server = _Server(baseurl, timeout, session, insecure=insecure)

    def __repr__(self) -> str:
        return f"XWrap({self._server.url!r})"

    def list_exchanges(self) -> list[Exchange]:
        """The exchanges that the server can speak to."""
        return self._server.read("/list_exchanges/", {}, _exchanges)

    def exchange_rates(self, currency: str, asset: str) -> list[ExchangeRate]:
        """The rates of `asset` in `currency` at every exchange that told one in time."""
        query = _query(from_=currency, to=asset)
        return self._server.read(f"/exchange_rates/?{query}", {}, _exchange_rates)

    def balance(self, username: str, password: str) -> list[Balance]:
        """The balances of all registrations of an account; a row whose exchange failed has an `error`."""
        return self._server.read("/balance", _basic(username, password), _balances)

    def list_backends(
        self,
        username: str,
        password: str,
        exchange: str | None = None,
        active_only: bool = True,
    ) -> list[Backend]:
        """The registrations of an account: those of one exchange, or all; the disabled ones only on demand."""
        which = {} if exchange is None else {"exchange": exchange}
        query = _query(**which, active_only="true" if active_only else "false")
        rows = self._server.read(f"/exchanges/?{query}", _basic(username, password), _registrations)
        return [_backend(row, username, password, self) for row in rows]

    def create_backend(self, username: str, password: str, exchange: str, uname: str, key: str, secret: str) -> Backend:
        """Register the exchange keys `key` and `secret`, and `uname`, the user name at exchanges that want one.

        Raises OutcomeUnknown when the answer was lost: look at `list_backends` before trying again.
        """
        form = {
            "exchange": _text(exchange, "exchange"),
            "username": _text(uname, "uname"),
            "apikey": _text(key, "key"),
            "apisecret": _text(secret, "secret"),
        }
        row = self._server.create("/exchanges/", form, _basic(username, password), _registration)
        return _backend(row, username, password, self)

    def backend(self, id: int, username: str, password: str) -> Backend:
        """The registration with this id."""
        row = self._server.read(f"/exchanges/{_id(id)}", _basic(username, password), _registration)
        return _backend(row, username, password, self)


class Backend:
    """One exchange registration of one account.

    `baseurl`: the address of the server as for an XWrap, or an XWrap, whose connections are then shared. `exchange`,
    `enabled`, `available`, `label` and `info` (the whole registration) are what the server told; a Backend made by hand
    was told nothing.
    """

    exchange: str | None = None
    enabled: bool | None = None
    available: bool | None = None
    label: str | None = None

    def __init__(
        self,
        id: int,
        username: str,
        password: str,
        baseurl: str | XWrap | None = None,
        *,
        timeout: float = 30,
        session: requests.Session | None = None,
        insecure: bool = False,
    ) -> None:
        self.id = _id(id)
        self.username = username
        self.password = password
        self.info: dict[str, Any] = {}
        if isinstance(baseurl, XWrap):
            self._server = baseurl._server  # noqa: SLF001 - the two halves of one API
        else:
            self._server = _Server(baseurl, timeout, session, insecure=insecure)
        self._auth = _basic(username, password)
        self._path = f"/exchanges/{self.id}"

    def __repr__(self) -> str:
        return f"<Backend {self.id} ({self.exchange or 'not asked'}) at {self._server.url}>"

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Backend holds a password and cannot be pickled or copied; make a new one")

    def balance(self) -> dict[str, Decimal]:
        """What the account owns at the exchange, open orders included."""
        return self._server.read(f"{self._path}/balance", self._auth, _amounts)

    def exchange_rate(self, currency: str, asset: str) -> Rate:
        """What one unit of `asset` costs (`buy`) and brings (`sell`) now, in `currency`."""
        query = _query(from_=currency, to=asset)
        return self._server.read(f"{self._path}/exchange_rate?{query}", self._auth, _rate)

    def funds(self) -> dict[str, Funds]:
        """What the account owns at the exchange, and how much of it is free; None where the exchange does not tell."""
        return self._server.read(f"{self._path}/funds", self._auth, _funds)

    def markets(self) -> list[Market]:
        """What can be traded at the exchange, and the rules for it; None where there is no such rule."""
        return self._server.read(f"{self._path}/markets", self._auth, _markets)

    def buy(
        self,
        currency: str,
        asset: str,
        amount: Amount | None = None,
        *,
        price: Amount | None = None,
        cost: Amount | None = None,
        key: str | None = None,
        dry_run: bool = False,
    ) -> Order:
        """Buy `amount` units of `asset` for `currency` at the current price, or at `price` or better.

        `cost`: spend this much of `currency` instead, at the current price. `dry_run`: check everything, send nothing.
        `key`: the idempotency key of this order, a fresh one when not given; a server that knows keys executes it once,
        whatever is repeated. Raises OutcomeUnknown, with the key, when nobody can say whether the order was executed.
        """
        form = _trade(currency, asset, amount=amount, price=price, cost=cost)
        return self._order("buy", form, key, dry_run=dry_run)

    def sell(
        self,
        currency: str,
        asset: str,
        amount: Amount,
        *,
        price: Amount | None = None,
        key: str | None = None,
        dry_run: bool = False,
    ) -> Order:
        """Sell `amount` units of `asset` for `currency` at the current price, or at `price` or better; see `buy`."""
        return self._order("sell", _trade(currency, asset, amount=amount, price=price), key, dry_run=dry_run)

    def _order(self, side: str, form: dict[str, str], key: str | None, *, dry_run: bool) -> Order:
        if dry_run:
            path = f"{self._path}/{side}"
            return self._server.create(path, {**form, "dry_run": "true"}, self._auth, _order_told, mutates=False)
        return self._server.move(self._path, side, "orders", form, self._auth, key, _order)

    def orders(self, status: str = "all", *, limit: int = 50, before: int | None = None) -> list[Order]:
        """Orders, newest first: "open" ones as the exchange tells them now, "closed" ones, or "all".

        At most `limit` (500), those with an id below `before`. Among the open ones are also those that were placed
        elsewhere; they have no id.
        """
        query = _page(limit, before, status=status)
        return self._server.read(f"{self._path}/orders/?{query}", self._auth, _orders_told)

    def order(self, id: int) -> Order:
        """One order as it is now."""
        return self._server.read(f"{self._path}/orders/{_id(id)}", self._auth, _order_told)

    def cancel(self, id: int) -> Order:
        """Cancel an order; what it is then: canceled, or filled before that. Canceling twice is no error."""
        return self._server.delete(f"{self._path}/orders/{_id(id)}", self._auth, _order_told)

    def cancel_all(self) -> int:
        """Cancel every open order of this exchange key, also those that were placed elsewhere; how many there were."""
        return self._server.delete(f"{self._path}/orders/", self._auth, _canceled)

    def fills(self, currency: str, asset: str) -> list[Fill]:
        """The latest executions of one pair, newest first."""
        query = _query(currency=currency, asset=asset)
        return self._server.read(f"{self._path}/fills?{query}", self._auth, _fills)

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        """What came in, newest first."""
        query = "" if asset is None else f"?{_query(asset=asset)}"
        return self._server.read(f"{self._path}/deposits{query}", self._auth, _deposits)

    def withdrawals(self, *, limit: int = 50, before: int | None = None) -> list[Withdrawal]:
        """What was sent through this registration, newest first; at most `limit` (500), those with an id below
        `before`.
        """
        return self._server.read(f"{self._path}/withdrawals/?{_page(limit, before)}", self._auth, _withdrawals)

    def deposit_address(self, asset: str = "BTC", network: str | None = None) -> DepositAddress:
        """An address at the exchange to send `asset` to; with a `tag`, both are needed or the money is lost."""
        query = _query(asset=asset) if network is None else _query(asset=asset, network=network)
        return self._server.read(f"{self._path}/deposit_address?{query}", self._auth, _deposit_address)

    def send_to_address(
        self,
        asset: str,
        amount: Amount,
        address: str,
        *,
        tag: str | None = None,
        network: str | None = None,
        key: str | None = None,
    ) -> bool:
        """Send `amount` units of `asset` to `address`; True when the exchange took it. See `buy` for `key`.

        `tag`: the memo or destination tag that belongs to the address. `network`: where the asset has several.
        """
        form = {"asset": _text(asset, "asset"), "amount": plain(amount), "address": _text(address, "address")}
        form |= {} if tag is None else {"tag": _text(tag, "tag")}
        form |= {} if network is None else {"network": _text(network, "network")}
        return self._server.move(self._path, "send_to_address", "withdrawals", form, self._auth, key, _sent)

    def get_address(self, asset: str = "BTC") -> str:
        """An address at the exchange to send `asset` to."""
        return self._server.read(f"{self._path}/get_address?{_query(asset=asset)}", self._auth, _address)


def _backend(info: dict[str, Any], username: str, password: str, xwrap: XWrap) -> Backend:
    backend = Backend(info["id"], username, password, xwrap)
    backend.info = info
    backend.exchange = info["exchange"]
    backend.enabled = info.get("enabled")
    backend.available = info.get("available")
    backend.label = info.get("label")
    return backend


# --- asking the server ------------------------------------------------------------------------------------------------

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": f"bitmm/{__version__}"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_DAY = 86400
#: How often a read is sent at most.
_READS = 3
#: How often an order is sent at most, each time but the first after the server said that it never saw the key.
_SENDS = 3
#: The share of the deadline that is kept for asking what became of an order.
_ASKING = 0.2
#: Seconds between two questions about an order that is still running.
_WAIT = 0.2


class _Server:
    """One server: where it is, how reads are repeated, and how orders are not."""

    def __init__(
        self, baseurl: str | None, timeout: float, session: requests.Session | None, *, insecure: bool
    ) -> None:
        self.url = base_url(baseurl or os.environ.get("XWRAP_URL") or "http://localhost:8000", insecure=insecure)
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= _DAY:
            raise InvalidRequest("timeout must be a number of seconds, at most a day", code="invalid_argument")
        self._timeout = timeout
        self._transport = Transport(timeout=timeout, session=session)

    def read(self, path: str, auth: Mapping[str, str], shape: Callable[[Any], _T], deadline: float | None = None) -> _T:
        """GET `path`, repeated a little when nobody answers or the server is busy, and what it answers in shape."""
        request = Request("GET", self.url + path, {**_HEADERS, **auth})
        deadline = monotonic() + self._timeout if deadline is None else deadline
        attempt = 1
        while True:
            try:
                return _result(self._transport.send(request, timeout=deadline - monotonic()), shape)
            except OutcomeUnknown as error:
                # A read executes nothing.
                if error.code != "no_answer":
                    raise APIError(error.reason, code=error.code) from error
                failure: APIError = Unavailable(error.reason, code=error.code, retryable=True)
                failure.__cause__ = error
            except APIError as error:
                failure = error
            pause = failure.retry_after or random.uniform(0.05, 0.15) * 2**attempt  # noqa: S311 - jitter is no secret
            if not failure.retryable or attempt == _READS or monotonic() + 2 * pause >= deadline:
                raise failure
            time.sleep(pause)
            attempt += 1

    def create(
        self,
        path: str,
        form: Mapping[str, str],
        auth: Mapping[str, str],
        shape: Callable[[Any], _T],
        *,
        mutates: bool = True,
    ) -> _T:
        """POST `form` to `path`, once."""
        request = Request("POST", self.url + path, {**_HEADERS, **_FORM, **auth}, _encoded(form))
        return _result(self._transport.send(request), shape, mutates=mutates)

    def delete(self, path: str, auth: Mapping[str, str], shape: Callable[[Any], _T]) -> _T:
        """DELETE `path`, once."""
        request = Request("DELETE", self.url + path, {**_HEADERS, **auth})
        return _result(self._transport.send(request), shape, mutates=True)

    def move(
        self,
        path: str,
        verb: str,
        records: str,
        form: Mapping[str, str],
        auth: Mapping[str, str],
        key: str | None,
        shape: Callable[[Any, Mapping[str, str]], _T],
    ) -> _T:
        """POST an order or a send under its key; what became of it can be asked among the records."""
        key = os.urandom(16).hex() if key is None else _key(key)
        headers = {**_HEADERS, **_FORM, **auth, "Idempotency-Key": key}
        request = Request("POST", f"{self.url}{path}/{verb}", headers, _encoded(form))
        deadline = monotonic() + self._timeout

        def order(document: Any) -> _T:
            return shape(document, {**form, "side": verb, "key": key})

        try:
            try:
                answer = self._transport.send(request, timeout=self._timeout * (1 - _ASKING))
                return _result(answer, order, mutates=True)
            except OutcomeUnknown as error:
                lost = error
            record = f"{path}/{records}/?{urlencode({'key': key})}"
            return self._recover(lost, request, record, auth, order, deadline)
        except APIError as error:
            error.key = key
            raise

    def _recover(
        self,
        lost: OutcomeUnknown,
        request: Request,
        record: str,
        auth: Mapping[str, str],
        shape: Callable[[Any], _T],
        deadline: float,
        sends: int = _SENDS - 1,
    ) -> _T:
        """What became of a request whose answer was lost.

        Only after a server that knows keys said that it never saw this one is the same request sent again.
        """
        if lost.code == "outcome_unknown":
            raise lost
        words = f"outcome unknown, ask for the key before trying again: {lost.reason}"
        unknown = OutcomeUnknown(words, status=lost.status, code=lost.code)
        try:
            document = self._ask(record, auth, deadline)
        except APIError as error:
            if error.code != "no_such_key" or not sends:
                raise unknown from error
        else:
            return _fit(document, shape, mutates=True)
        left = deadline - monotonic() - _ASKING * self._timeout
        try:
            return _result(self._transport.send(request, timeout=left), shape, mutates=True)
        except OutcomeUnknown as error:
            lost = error
        except (Unavailable, RateLimited) as error:
            # This time it was certainly not executed; of the first time nobody knows.
            raise unknown from error
        return self._recover(lost, request, record, auth, shape, deadline, sends - 1)

    def _ask(self, record: str, auth: Mapping[str, str], deadline: float) -> Any:
        """What the server knows of an order; while that is still running, its end is waited for."""
        while True:
            try:
                return self.read(record, auth, _anything, deadline)
            except APIError as error:
                if error.code != "still_running" or monotonic() + _WAIT >= deadline:
                    raise
            time.sleep(_WAIT)


def _result(answer: Response, shape: Callable[[Any], _T], *, mutates: bool = False) -> _T:
    """What was asked for, or the error that the server told. `mutates`: something may have been executed."""
    try:
        document, trouble = answer.json(), None
    except ValueError as error:
        document, trouble = None, error
    if not 200 <= answer.status < 300:
        raise refusal(answer.status, document, answer.headers.get("Retry-After"), mutates=mutates)
    if trouble is not None:
        raise _unfit(trouble, answer.status, mutates=mutates) from trouble
    if mutates and answer.status == 202:
        raise undecided(document)
    return _fit(document, shape, answer.status, mutates=mutates)


def _fit(document: Any, shape: Callable[[Any], _T], status: int = 200, *, mutates: bool = False) -> _T:
    try:
        return shape(document)
    except ValueError as error:
        raise _unfit(error, status, mutates=mutates) from error


def _unfit(trouble: ValueError, status: int, *, mutates: bool) -> APIError:
    kind = OutcomeUnknown if mutates else APIError
    return kind(f"the server's answer cannot be used: {trouble}", status=status, code="bad_answer")


# --- what goes in -----------------------------------------------------------------------------------------------------


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text", code="invalid_argument")
    return value


def _id(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    raise InvalidRequest("the id of a registration must be a whole number", code="invalid_argument")


def _key(key: object) -> str:
    if not isinstance(key, str) or not re.fullmatch(r"[!-~]([ -~]{0,253}[!-~])?", key):
        raise InvalidRequest("key must be 1 to 255 printable ASCII characters", code="invalid_key")
    return key


def _basic(username: str, password: str) -> Mapping[str, str]:
    """The header of HTTP Basic (RFC 7617), in UTF-8; a colon ends the user name, so it cannot hold one."""
    if ":" in _text(username, "username"):
        raise InvalidRequest("a user name cannot hold a colon", code="invalid_argument")
    pair = _utf8(f"{username}:{_text(password, 'password')}")
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _trade(currency: object, asset: object, **amounts: Amount | None) -> dict[str, str]:
    given = {name: plain(amount, name) for name, amount in amounts.items() if amount is not None}
    if ("amount" in given) == ("cost" in given):
        raise InvalidRequest("an order has an amount or a cost, one of them", code="invalid_amount")
    return {"currency": _text(currency, "currency"), "asset": _text(asset, "asset"), **given}


def _page(limit: int, before: int | None, **fields: str) -> str:
    page = {"limit": str(_id(limit))} if before is None else {"limit": str(_id(limit)), "before": str(_id(before))}
    return _query(**fields, **page)


def _encoded(form: Mapping[str, str]) -> bytes:
    return urlencode({name: _utf8(value) for name, value in form.items()}).encode()


def _query(**fields: str) -> str:
    return urlencode({name.rstrip("_"): _utf8(_text(value, name)) for name, value in fields.items()})


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("text with half a surrogate pair cannot be sent", code="invalid_argument") from None


# --- what comes out: a ValueError says that it is not what was asked for ----------------------------------------------


def _anything(document: Any) -> Any:
    return document


def _rows(document: Any, *fields: str) -> list[dict[str, Any]]:
    if not isinstance(document, list):
        raise ValueError("it is not a list")  # noqa: TRY004 - one error for a bad document
    return [_row(row, *fields) for row in document]


def _row(document: Any, *fields: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - one error for a bad document
    for field in fields:
        if field not in document:
            raise ValueError(f"{field!r} is missing")
    return document


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("an id is not a whole number")


def _amounts(document: Any) -> dict[str, Decimal]:
    return {name: parse_decimal(amount) for name, amount in _row(document).items()}


def _exchanges(document: Any) -> list[Exchange]:
    return cast("list[Exchange]", _rows(document, "id", "name", "description"))


def _rate(document: Any) -> Rate:
    row = _row(document, "buy", "sell")
    return {"buy": parse_decimal(row["buy"]), "sell": parse_decimal(row["sell"])}


def _exchange_rates(document: Any) -> list[ExchangeRate]:
    rows = _rows(document, "exchange", "buy", "sell")
    return cast("list[ExchangeRate]", [{**row, **_rate(row)} for row in rows])


def _balances(document: Any) -> list[Balance]:
    rows = _rows(document, "id", "exchange", "balance")
    return cast(
        "list[Balance]", [{**row, "id": _whole(row["id"]), "balance": _amounts(row["balance"])} for row in rows]
    )


def _registration(document: Any) -> dict[str, Any]:
    row = _row(document, "id", "exchange")
    _whole(row["id"])
    return row


def _registrations(document: Any) -> list[dict[str, Any]]:
    return [_registration(row) for row in _rows(document)]


def _address(document: Any) -> str:
    if not isinstance(document, str) or not document:
        raise ValueError("it is not an address")
    return document


_AMOUNTS = ("amount", "price", "cost", "filled", "average", "spent", "fee")


def _order(document: Any, sent: Mapping[str, str]) -> Order:
    return _order_told(_decided(document, sent))


def _order_told(document: Any) -> Order:
    return cast("Order", _with_amounts(document, *_AMOUNTS))


def _orders_told(document: Any) -> list[Order]:
    return [_order_told(row) for row in _rows(document)]


def _canceled(document: Any) -> int:
    return _whole(_row(document, "canceled")["canceled"])


def _funds(document: Any) -> dict[str, Funds]:
    names = ("total", "available", "held")
    return {name: cast("Funds", _with_amounts(_row(row, *names), *names)) for name, row in _row(document).items()}


def _markets(document: Any) -> list[Market]:
    rules = ("price_step", "amount_step", "amount_min", "cost_min")
    return [cast("Market", _with_amounts(row, *rules)) for row in _rows(document, "currency", "asset")]


def _fills(document: Any) -> list[Fill]:
    return [cast("Fill", _with_amounts(row, "amount", "price", "fee")) for row in _rows(document, "amount", "price")]


def _deposits(document: Any) -> list[Deposit]:
    return [cast("Deposit", _with_amounts(row, "amount")) for row in _rows(document, "asset", "amount")]


def _withdrawals(document: Any) -> list[Withdrawal]:
    return [cast("Withdrawal", _with_amounts(row, "amount", "fee")) for row in _rows(document, "asset", "amount")]


def _deposit_address(document: Any) -> DepositAddress:
    return cast("DepositAddress", _row(document, "asset", "address", "tag", "network"))


def _with_amounts(document: Any, *names: str) -> dict[str, Any]:
    row = _row(document)
    return {**row, **{name: _maybe(row[name]) for name in names if name in row}}


def _sent(document: Any, sent: Mapping[str, str]) -> bool:
    # A server of 2013 answers true.
    if document is not True:
        _decided(document, sent)
    return True


def _decided(document: Any, sent: Mapping[str, str]) -> dict[str, Any]:
    """The record of what was sent; an answer on a shared connection may be the answer to something else."""
    row = _row(document)
    for name, value in sent.items():
        told = row.get(name)
        if told is not None and told != value and not _same(name, told, value):
            raise ValueError(f"its {name!r} is not what was sent")
    status = row.get("status")
    if status == "unknown":
        raise undecided(row)
    if status in ("rejected", "failed"):
        error = row.get("error")
        raise refusal(422, error or {"detail": "the exchange refused it", **row}, None)
    return row


def _same(name: str, told: object, sent: str) -> bool:
    if name in _AMOUNTS:
        return parse_decimal(told) == Decimal(sent)
    return isinstance(told, str) and (told if name == "key" else told.upper()) == (
        sent if name == "key" else sent.upper()
    )


def _maybe(amount: object) -> Decimal | None:
    return None if amount is None else parse_decimal(amount)
