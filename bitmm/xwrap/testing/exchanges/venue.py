"""What local exchanges have in common: a server, accounts, a small book per pair, a ledger, and faults to switch on.

Nothing here knows a protocol. A venue is a subclass of `Venue` in a file that ends with `VENUE = ThatClass`:

    class DemoVenue(Venue):
        name, default_key, default_secret = "demo", "demo-key", "demo-secret"

        def routes(self):
            return {("GET", "/time"): self.time, ("POST", "/cancel/{id}"): self.cancel_one}

        def time(self, request):                 # a handler gives a Reply, or what becomes JSON with status 200
            return {"now": int(self.clock())}

        def cancel_one(self, request, id):       # {names} in a path are passed on, percent-decoded
            self.cancel(self.orders[id])         # raises Reject("order_not_open")
            return {}

        def refused(self, request, reject):      # the core's refusals in this exchange's own words
            return Reply.json({"error": reject.code}, 400)

        def fault_reply(self, kind, request):          # the faults rate_limit, nonce and maintenance in its own words
            return Reply.json({"error": kind}, 429)

    with DemoVenue() as venue:                   # venue.url, venue.key, venue.secret
        venue.fault("cut", times=1, path="/cancel")

Currencies and assets have their common names here ("BTC"), a pair is "BTC/EUR" (asset/currency), amounts are Decimal.
All calls of handlers happen under one lock, so a venue's state needs no other care.

Over HTTP, for every venue: `GET /_venue/ledger` (every order and withdrawal that was really executed),
`GET /_venue/requests` (the calls that arrived, oldest first), `POST /_venue/fault` with JSON
`{"kind", "times", "path", "seconds"}`, see `FAULTS`.
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import struct
import threading
import time
import traceback
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, localcontext
from email.message import Message
from http.client import responses
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ZERO = Decimal(0)

#: kind -> what happens to the next `times` requests whose path contains `path` as whole words: "Withdraw" is a part of
#: "/0/private/Withdraw", not of "/0/private/WithdrawStatus"; "" is a part of every path. The method may stand before:
#: "POST /api/v1/order".
FAULTS = {
    "executed_but_timeout": "executed, never answered; the connection is closed after `seconds` (60)",
    "refused": "nobody listens at the port for `seconds` (1); `times` and `path` mean nothing, for nothing arrives",
    "reset_before": "read, not executed, the connection is reset",
    "reset_after": "executed, the connection is reset",
    "slow": "executed, answered `seconds` (2) later",
    "drip": "executed, answered with one byte every `seconds` (1)",
    "cut": "executed, the connection ends in the middle of the answer",
    "html": "not executed, 502 with a page of HTML",
    "html_after": "executed, 502 with a page of HTML",
    "rate_limit": "not executed, refused in the exchange's own words",
    "nonce": "not executed, refused in the exchange's own words",
    "maintenance": "not executed, refused in the exchange's own words",
}


class Reject(Exception):
    """Why the core refused: insufficient_funds, unknown_pair, amount_min, cost_min, amount_places, price_places,
    no_liquidity, post_only, order_not_found, order_not_open. A venue says it in its own words.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


# --- what is traded ---------------------------------------------------------------------------------------------------


@dataclass
class Pair:
    """One market and its rules. `asks` and `bids` are the house's offers (price, amount), renewed after every order."""

    asset: str
    currency: str
    asks: list[tuple[Decimal, Decimal]]
    bids: list[tuple[Decimal, Decimal]]
    price_places: int = 2
    amount_places: int = 8
    #: Money is booked with this many decimals.
    cost_places: int = 4
    amount_min: Decimal = Decimal("0.0001")
    cost_min: Decimal = Decimal("0.5")
    fee: Decimal = Decimal("0.0026")

    @property
    def name(self) -> str:
        return f"{self.asset}/{self.currency}"


def pair(asset: str, currency: str, ask: str, bid: str, **rules: Any) -> Pair:
    """A pair with three levels of house liquidity on each side, 0.1 % apart: 1, 2 and 5 units of the asset."""
    made = Pair(asset, currency, [], [], **rules)
    step = Decimal(1).scaleb(-made.price_places)
    for offers, best, away in ((made.asks, Decimal(ask), 1), (made.bids, Decimal(bid), -1)):
        for level, amount in enumerate((1, 2, 5)):
            price = (best * (1000 + away * level) / 1000).quantize(step)
            offers.append((price, Decimal(amount)))
    return made


@dataclass
class Account:
    """Whoever holds a key. `permissions` has the venue's own words; `nonce` is the highest (or last) one seen."""

    key: str
    secret: str
    permissions: set[str]
    balances: dict[str, Decimal]
    nonce: int = 0
    nonces: dict[Any, float] = field(default_factory=dict)
    addresses: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Fill:
    id: str
    order: Order
    price: Decimal
    amount: Decimal
    cost: Decimal
    fee: Decimal
    fee_currency: str
    maker: bool
    time: float


@dataclass
class Order:
    """`status` is open, filled or canceled; a market order that the book cannot fill ends canceled, partly filled.

    `amount` is None for an order by `cost`. `words` is room for what only the protocol knows.
    """

    id: str
    client_id: str | None
    account: Account
    pair: Pair
    side: str
    amount: Decimal | None
    price: Decimal | None
    cost: Decimal | None
    time: float
    status: str = "open"
    closed: float | None = None
    fills: list[Fill] = field(default_factory=list)
    words: dict[str, Any] = field(default_factory=dict)

    @property
    def limit_price(self) -> Decimal:
        """The price of a limit order. A market order has none, and never rests in the book."""
        if self.price is None:
            raise ValueError("a market order has no limit price")
        return self.price

    @property
    def filled(self) -> Decimal:
        return sum((fill.amount for fill in self.fills), ZERO)

    @property
    def spent(self) -> Decimal:
        return sum((fill.cost for fill in self.fills), ZERO)

    @property
    def fee(self) -> Decimal:
        return sum((fill.fee for fill in self.fills), ZERO)

    @property
    def average(self) -> Decimal | None:
        return self.spent / self.filled if self.fills else None

    @property
    def left(self) -> Decimal:
        return ZERO if self.amount is None else self.amount - self.filled


@dataclass
class Transfer:
    """A withdrawal or a deposit; `amount` is what left or reached the account, `fee` included."""

    id: str
    account: Account
    asset: str
    amount: Decimal
    fee: Decimal
    address: str
    tag: str | None
    network: str | None
    client_id: str | None
    time: float
    status: str = "pending"
    txid: str | None = None
    words: dict[str, Any] = field(default_factory=dict)


class Take(NamedTuple):
    """A part of an order that the book can fill: with the house, or with somebody's resting order."""

    price: Decimal
    amount: Decimal
    rest: Order | None


# --- what travels -----------------------------------------------------------------------------------------------------


class Request(NamedTuple):
    """A request as it arrived: `target` is the raw path with the raw query, `body` the exact bytes; for signatures."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] | Message[str, str]
    body: bytes

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def args(self) -> dict[str, str]:
        """The parameters of the query."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The parameters of a form body."""
        return dict(parse_qsl(self.body.decode("utf-8"), keep_blank_values=True))

    def json(self) -> Any:
        return json.loads(self.body, parse_float=Decimal)


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]

    @classmethod
    def json(cls, data: Any, status: int = 200, **headers: str) -> Reply:
        """`data` as JSON; a Decimal becomes a JSON number with all its digits (send text for amounts in quotes)."""
        return cls.text(dumps(data), status, "application/json", **headers)

    @classmethod
    def text(cls, text: str, status: int = 200, kind: str = "text/plain; charset=utf-8", **headers: str) -> Reply:
        """Text; a header `Retry_After=` is sent as Retry-After."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, text.encode(), {"Content-Type": kind, **named})


PAGE = Reply.text("<html><body><h1>502 Bad Gateway</h1></body></html>\n", 502, "text/html")

_DECIMAL = re.compile(r'"\\u0000(-?[0-9.]+)"')


def dumps(data: Any) -> str:
    """JSON in which Decimals are numbers with exactly their digits, never exponents."""
    return _DECIMAL.sub(r"\1", json.dumps(data, default=lambda value: f"\0{value:f}"))


def places(amount: Decimal, digits: int) -> str:
    """`amount` as text with exactly `digits` decimals, cut (exchanges show what was booked, not more)."""
    return f"{amount.quantize(Decimal(1).scaleb(-digits), ROUND_DOWN):f}"


def fits(amount: Decimal, digits: int) -> bool:
    """Whether `amount` has at most `digits` decimals."""
    return len(f"{amount:f}".partition(".")[2].rstrip("0")) <= digits


@dataclass
class Fault:
    kind: str
    times: int
    path: str
    seconds: float | None

    def meets(self, path: str) -> bool:
        before = "(?<![A-Za-z0-9])" if self.path[:1].isalnum() else ""
        after = "(?![A-Za-z0-9])" if self.path[-1:].isalnum() else ""
        return re.search(before + re.escape(self.path) + after, path) is not None

    def wait(self, default: float) -> float:
        return default if self.seconds is None else self.seconds


# --- the exchange -----------------------------------------------------------------------------------------------------


class Venue:
    """One local exchange. The part below `start` is the HTTP server, the part above it the exchange proper."""

    name = "venue"
    default_key = "key"
    default_secret = "secret"
    #: All the rights there are, in the exchange's own words; a new account has all of them.
    permissions: tuple[str, ...] = ()
    #: "currency": fees are paid in the pair's currency. "received": in what the order brings.
    fees_in = "currency"

    def __init__(
        self,
        *,
        key: str | None = None,
        secret: str | None = None,
        port: int = 0,
        clock: Callable[[], float] = time.time,
        balances: Mapping[str, Decimal] | None = None,
        pairs: list[Pair] | None = None,
    ) -> None:
        self.clock = clock
        self.key = key or self.default_key
        self.secret = secret or self.default_secret
        self.pairs = {pair.name: pair for pair in pairs or self.default_pairs()}
        self.accounts: dict[str, Account] = {}
        self.orders: dict[str, Order] = {}
        self.open: dict[str, Order] = {}
        self.withdrawals: dict[str, Transfer] = {}
        self.deposits: dict[str, Transfer] = {}
        self.requests: deque[Request] = deque(maxlen=100_000)
        self.faults: list[Fault] = []
        self.bugs: list[str] = []
        self.lock = threading.RLock()
        self._numbers = itertools.count(1001)
        self._ledger: list[dict[str, Any]] = []
        self._routes = [(method, _pattern(path), handler) for (method, path), handler in self.routes().items()]
        self._port = port
        self._server: _Server | None = None
        self._reopening: threading.Timer | None = None
        #: Bound and not listening while "refused" is on: nobody else may get the port.
        self._held: socket.socket | None = None
        self._stopping = threading.Event()
        self.account = self.add_account(self.key, self.secret, balances)

    # --- what a venue says in its own way ---

    def routes(self) -> dict[tuple[str, str], Callable[..., Any]]:
        raise NotImplementedError

    def refused(self, request: Request, reject: Reject) -> Reply:
        return Reply.json({"error": reject.code}, 400)

    def fault_reply(self, kind: str, request: Request) -> Reply:
        return Reply.json({"error": kind}, {"rate_limit": 429, "nonce": 401}.get(kind, 503))

    def not_found(self, request: Request) -> Reply:
        return Reply.json({"error": "not found"}, 404)

    def default_pairs(self) -> list[Pair]:
        return [pair("BTC", "EUR", "30010.0", "30000.0", price_places=1)]

    def new_id(self, kind: str) -> str:
        """The id of a new "order", "fill", "withdrawal" or "deposit"."""
        return str(next(self._numbers))

    def new_address(self, asset: str, network: str | None = None) -> str:
        return f"{asset.lower()}-{self.name}-address-{next(self._numbers)}"

    def handle(self, request: Request) -> Reply:
        """Route one request; a venue with an envelope or signed answers wraps this."""
        for method, pattern, handler in self._routes:
            if method == request.method and (match := pattern.fullmatch(request.path)):
                answer = handler(request, **{name: unquote(value) for name, value in match.groupdict().items()})
                return answer if isinstance(answer, Reply) else Reply.json(answer)
        return self.not_found(request)

    # --- accounts ---

    def add_account(self, key: str, secret: str, balances: Mapping[str, Decimal] | None = None) -> Account:
        if balances is None:
            names = {name for pair in self.pairs.values() for name in (pair.asset, pair.currency)}
            fiat = {pair.currency for pair in self.pairs.values()} - {pair.asset for pair in self.pairs.values()}
            balances = {name: Decimal(1_000_000 if name in fiat else 100) for name in names}
        account = self.accounts[key] = Account(key, secret, set(self.permissions), dict(balances))
        return account

    def held(self, account: Account, asset: str) -> Decimal:
        """What open orders of the account keep of `asset`."""
        total = ZERO
        for order in self.open.values():
            if order.account is account and order.price is not None:
                if order.side == "sell" and order.pair.asset == asset:
                    total += order.left
                elif order.side == "buy" and order.pair.currency == asset:
                    total += self._cost(order.pair, order.left, order.price)
        return total

    def available(self, account: Account, asset: str) -> Decimal:
        return account.balances.get(asset, ZERO) - self.held(account, asset)

    def address(self, account: Account, asset: str, *, network: str | None = None, new: bool = False) -> str:
        """The account's deposit address: always the same one until a `new` one is asked for."""
        mine = account.addresses.setdefault(network or asset, [])
        if new or not mine:
            mine.append(self.new_address(asset, network))
        return mine[-1]

    # --- orders ---

    def place(
        self,
        account: Account,
        pair_name: str,
        side: str,
        *,
        amount: Decimal | None = None,
        cost: Decimal | None = None,
        price: Decimal | None = None,
        client_id: str | None = None,
        post_only: bool = False,
        immediate: bool = False,
    ) -> Order:
        """Accept and match an order: a limit order with `price` (it rests, unless `immediate`), else a market order.

        Exactly one of `amount` (asset) and `cost` (currency, market orders) is given. Raises Reject, and then nothing
        was executed.
        """
        if (pair := self.pairs.get(pair_name)) is None:
            raise Reject("unknown_pair")
        if amount is not None and not fits(amount, pair.amount_places):
            raise Reject("amount_places")
        if price is not None and (price <= 0 or not fits(price, pair.price_places)):
            raise Reject("price_places")
        if amount is not None and amount < pair.amount_min:
            raise Reject("amount_min")
        worth = amount * price if amount is not None and price is not None else cost
        if worth is not None and worth < pair.cost_min:
            raise Reject("cost_min")
        order = Order("", client_id, account, pair, side, amount, price, cost, self.clock())
        takes = self._takes(order)
        if takes and post_only:
            raise Reject("post_only")
        if price is None and not takes:
            raise Reject("no_liquidity")
        self._check_funds(order, takes, rests=price is not None and not immediate)
        order.id = self.new_id("order")
        self.orders[order.id] = self.open[order.id] = order
        self._fill(order, takes)
        if order.status == "open" and (price is None or immediate):
            step = takes[-1].price.scaleb(-pair.amount_places) if takes else ZERO
            self._close(order, "filled" if cost is not None and cost - order.spent < step else "canceled")
        self._ledger.append(
            {
                "kind": "order",
                "order_id": order.id,
                "client_id": client_id,
                "side": side,
                "pair": pair.name,
                "amount": f"{order.filled if amount is None else amount:f}",
                "price": f"{price:f}" if order.average is None or price is not None else places(order.average, 10),
                "time": order.time,
            }
        )
        return order

    def resting(self, pair: Pair) -> list[Order]:
        """Return the limit orders that wait in the book of the pair, oldest first."""
        return [order for order in self.open.values() if order.pair is pair and order.price is not None]

    def order_of(self, account: Account, order_id: str) -> Order:
        order = self.orders.get(order_id)
        if order is None or order.account is not account:
            raise Reject("order_not_found")
        return order

    def cancel(self, order: Order) -> None:
        if order.status != "open":
            raise Reject("order_not_open")
        self._close(order, "canceled")

    def orders_of(self, account: Account, *, status: str | None = None) -> list[Order]:
        """The account's orders, oldest first; `status` "open", or "closed" for filled and canceled ones."""
        orders = self.open if status == "open" else self.orders
        mine = [order for order in orders.values() if order.account is account]
        return mine if status != "closed" else [order for order in mine if order.status != "open"]

    def fills_of(self, account: Account) -> list[Fill]:
        return sorted((fill for order in self.orders_of(account) for fill in order.fills), key=lambda fill: fill.time)

    def set_best_prices(self, pair_name: str, ask: Decimal, bid: Decimal) -> None:
        """Bring the house's best prices to `ask` and `bid`; resting orders that they reach are filled as makers."""
        with self.lock:
            pair = self.pairs[pair_name]
            step = Decimal(1).scaleb(-pair.price_places)
            pair.asks = [((price + ask - pair.asks[0][0]).quantize(step), amount) for price, amount in pair.asks]
            pair.bids = [((price + bid - pair.bids[0][0]).quantize(step), amount) for price, amount in pair.bids]
            for order in list(self.open.values()):
                if order.pair is pair:
                    offers = [
                        Take(order.limit_price, take.amount, None) for take in self._takes(order) if take.rest is None
                    ]
                    self._fill(order, offers, maker=True)

    def _takes(self, order: Order) -> list[Take]:
        """What the book gives this order now, best price first; nothing is changed. Nobody trades with himself."""
        buys = order.side == "buy"
        offers = [Take(price, amount, None) for price, amount in (order.pair.asks if buys else order.pair.bids)]
        offers += [
            Take(rest.limit_price, rest.left, rest)
            for rest in self.open.values()
            if rest.pair is order.pair and rest.side != order.side and rest.account is not order.account
        ]
        offers.sort(key=lambda take: take.price if buys else -take.price)
        takes = []
        left, money = order.left, order.cost
        step = Decimal(1).scaleb(-order.pair.amount_places)
        for offer in offers:
            if order.price is not None and (offer.price > order.price if buys else offer.price < order.price):
                break
            wanted = left if money is None else (money / offer.price).quantize(step, ROUND_DOWN)
            if not (amount := min(offer.amount, wanted)):
                break
            takes.append(offer._replace(amount=amount))
            left -= amount
            money = None if money is None else money - amount * offer.price
        return takes

    def _check_funds(self, order: Order, takes: list[Take], *, rests: bool) -> None:
        pair, taken = order.pair, sum((take.amount for take in takes), ZERO)
        if order.side == "sell":
            needed, asset = (order.amount or taken), pair.asset
        else:
            needed, asset = sum((self._cost(pair, take.amount, take.price) for take in takes), ZERO), pair.currency
            if rests:
                needed += self._cost(pair, order.left - taken, order.limit_price)
        if needed > self.available(order.account, asset):
            raise Reject("insufficient_funds")

    def _fee(self, pair: Pair, side: str, amount: Decimal, price: Decimal) -> tuple[Decimal, str]:
        if self.fees_in == "received" and side == "buy":
            return (amount * pair.fee).quantize(Decimal(1).scaleb(-pair.amount_places), ROUND_HALF_UP), pair.asset
        return _booked(amount * price * pair.fee, pair), pair.currency

    def _cost(self, pair: Pair, amount: Decimal, price: Decimal) -> Decimal:
        """What a buy takes of the currency, with the fee."""
        fee, where = self._fee(pair, "buy", amount, price)
        return _booked(amount * price, pair) + (fee if where == pair.currency else ZERO)

    def _fill(self, order: Order, takes: list[Take], *, maker: bool = False) -> None:
        for take in takes:
            self._book(order, take.price, take.amount, maker=maker)
            if take.rest is not None:
                self._book(take.rest, take.price, take.amount, maker=True)

    def _book(self, order: Order, price: Decimal, amount: Decimal, *, maker: bool) -> None:
        pair, balances, cost = order.pair, order.account.balances, _booked(amount * price, order.pair)
        fee, fee_currency = self._fee(pair, order.side, amount, price)
        sign = 1 if order.side == "buy" else -1
        for asset, change in ((pair.asset, sign * amount), (pair.currency, -sign * cost), (fee_currency, -fee)):
            balances[asset] = balances.get(asset, ZERO) + change
        now = self.clock()
        order.fills.append(Fill(self.new_id("fill"), order, price, amount, cost, fee, fee_currency, maker, now))
        if order.amount is not None and not order.left:
            self._close(order, "filled")

    def _close(self, order: Order, status: str) -> None:
        order.status, order.closed = status, self.clock()
        del self.open[order.id]

    # --- transfers ---

    def withdraw(
        self,
        account: Account,
        asset: str,
        amount: Decimal,
        address: str,
        *,
        fee: Decimal = ZERO,
        tag: str | None = None,
        network: str | None = None,
        client_id: str | None = None,
    ) -> Transfer:
        """Take `amount` from the account and send it, less `fee`, to `address`. Raises Reject when nothing left."""
        if amount <= 0:
            raise Reject("amount_min")
        if amount > self.available(account, asset):
            raise Reject("insufficient_funds")
        account.balances[asset] -= amount
        made = Transfer(
            self.new_id("withdrawal"), account, asset, amount, fee, address, tag, network, client_id, self.clock()
        )
        self.withdrawals[made.id] = made
        self._ledger.append(
            {
                "kind": "withdrawal",
                "order_id": made.id,
                "client_id": client_id,
                "side": "send",
                "pair": asset,
                "amount": f"{amount:f}",
                "price": None,
                "time": made.time,
            }
        )
        return made

    def deposit(
        self, asset: str, amount: Decimal, *, account: Account | None = None, network: str | None = None
    ) -> Transfer:
        """Something came in (for tests), to the account's address."""
        with self.lock:
            account = account or self.account
            account.balances[asset] = account.balances.get(asset, ZERO) + amount
            address = self.address(account, asset, network=network)
            made = Transfer(
                self.new_id("deposit"), account, asset, amount, ZERO, address, None, network, None, self.clock(), "done"
            )
            made.txid = f"{next(self._numbers):064x}"
            self.deposits[made.id] = made
            return made

    def ledger(self) -> list[dict[str, Any]]:
        """Every order and withdrawal that was really executed, oldest first: the truth that tests compare with."""
        with self.lock:
            return [dict(row) for row in self._ledger]

    # --- faults ---

    def fault(self, kind: str, *, times: int = 1, path: str = "", seconds: float | None = None) -> None:
        """Switch a fault of `FAULTS` on for the next `times` requests to `path`."""
        if kind not in FAULTS:
            raise ValueError(f"no such fault: {kind}")
        if kind == "refused":
            self._refuse(1.0 if seconds is None else seconds)
        else:
            with self.lock:
                self.faults.append(Fault(kind, times, path, seconds))

    def heal(self) -> None:
        """Switch all faults off; listen again."""
        with self.lock:
            self.faults.clear()
        self._reopen()

    def take_fault(self, path: str) -> Fault | None:
        """The fault for a request, given as its method and path."""
        with self.lock:
            for fault in self.faults:
                if fault.meets(path):
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    return fault
        return None

    # --- the server ---

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._stopping.clear()
        self._listen()

    def stop(self) -> None:
        self._stopping.set()
        self._reopen()
        self._deafen()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        if kind is None and self.bugs:
            raise AssertionError("the venue itself failed:\n" + "\n".join(self.bugs))

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than the venue lives."""
        self._stopping.wait(seconds)

    def answer(self, request: Request) -> Reply:
        """Execute one request; a mistake of the venue itself is a 500 and fails the test that uses the venue."""
        with self.lock, localcontext(prec=100):
            try:
                return self.handle(request)
            except Reject as reject:
                return self.refused(request, reject)
            except Exception:
                self.bugs.append(traceback.format_exc())
                return Reply.text("the venue itself failed", 500)

    def control(self, request: Request) -> Reply:
        """What stands under /_venue/."""
        if request.target == "/_venue/ledger":
            return Reply.json(self.ledger())
        if request.target == "/_venue/requests":
            with self.lock:
                return Reply.json([{"method": made.method, "target": made.target} for made in self.requests])
        if request.target == "/_venue/fault" and request.method == "POST":
            asked = request.json()
            if asked.get("kind") not in FAULTS:
                return Reply.json({"error": f"kind is one of {', '.join(FAULTS)}"}, 422)
            seconds = asked.get("seconds")
            self.fault(
                asked["kind"],
                times=asked.get("times", 1),
                path=asked.get("path", ""),
                seconds=None if seconds is None else float(seconds),
            )
            return Reply.json({})
        return Reply.json({"error": "not found"}, 404)

    def _listen(self) -> None:
        server = self._server = _Server(("127.0.0.1", self._port), _Connection)
        server.venue = self
        self._port = server.server_address[1]
        server.accepting.start()

    def _deafen(self) -> None:
        """Stop listening and end all connections, but not the one that asks for it."""
        with self.lock:
            server, self._server = self._server, None
        if server is not None:
            server.stop_accepting()
            server.cut_connections()

    def _refuse(self, seconds: float) -> None:
        self._deafen()
        with self.lock:
            self._held = socket.socket()
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.bind(("127.0.0.1", self._port))
            self._reopening = threading.Timer(seconds, self._reopen)
            self._reopening.daemon = True
            self._reopening.start()

    def _reopen(self) -> None:
        with self.lock:
            if self._reopening is not None and self._held is not None:
                self._reopening.cancel()
                self._reopening = None
                self._held.close()
                self._listen()


def _booked(money: Decimal, pair: Pair) -> Decimal:
    return money.quantize(Decimal(1).scaleb(-pair.cost_places), ROUND_HALF_UP)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256
    venue: Venue

    def __init__(self, *arguments: Any) -> None:
        self.connections: dict[socket.socket, int] = {}
        self.accepting = threading.Thread(target=self.accept, name="venue", daemon=True)
        super().__init__(*arguments)

    def accept(self) -> None:
        """Instead of `serve_forever`, which looks only now and then whether it is to stop."""
        while True:
            try:
                connection, address = self.get_request()
            except OSError:
                return
            self.process_request(connection, address)

    def stop_accepting(self) -> None:
        with suppress(OSError):  # where it is not allowed, closing wakes `accept`
            self.socket.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self.accepting.join(1)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self.connections[request] = threading.get_ident()
        super().process_request_thread(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.pop(request, None)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        for connection, thread in list(self.connections.items()):
            if thread != threading.get_ident():
                with suppress(OSError):  # it has just ended by itself
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no mistake of the venue."""
        error = traceback.format_exc()
        if not any(name in error for name in ("ConnectionResetError", "BrokenPipeError", "TimeoutError")):
            self.venue.bugs.append(error)


class _Connection(BaseHTTPRequestHandler):
    """One keep-alive connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def serve(self) -> None:
        venue = self.server.venue
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        request = Request(self.command, path, query, self.headers, body)
        if path.startswith("/_venue/"):
            reply = venue.control(request)
            self.close_connection |= venue._server is not self.server  # "refused": nothing more arrives this way either
            self.reply(reply)
            return
        venue.requests.append(request)
        fault = venue.take_fault(f"{self.command} {path}")
        if fault is None:
            self.reply(venue.answer(request))
        else:
            self.reply_with_fault(fault, request)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 - the standard library calls them so

    def reply_with_fault(self, fault: Fault, request: Request) -> None:
        venue, kind = self.server.venue, fault.kind
        if kind == "reset_before":
            self.reset()
            return
        if kind == "html":
            reply = PAGE
        elif kind in ("rate_limit", "nonce", "maintenance"):
            reply = venue.fault_reply(kind, request)
        else:
            reply = venue.answer(request)
        if kind == "reset_after":
            self.reset()
        elif kind == "executed_but_timeout":
            venue.sleep(fault.wait(60))
            self.close_connection = True
        elif kind == "cut":
            self.reply(reply, cut=True)
        elif kind == "drip":
            self.drip(reply, fault.wait(1))
        else:
            if kind == "slow":
                venue.sleep(fault.wait(2))
            self.reply(PAGE if kind == "html_after" else reply)

    def wire(self, reply: Reply) -> bytes:
        headers = {"Content-Length": len(reply.body), **reply.headers}
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + reply.body

    def reply(self, reply: Reply, *, cut: bool = False) -> None:
        wire = self.wire(reply)
        if cut:
            wire = wire[: len(wire) - len(reply.body) // 2 - 1]
            self.close_connection = True
        self.wfile.write(wire)

    def drip(self, reply: Reply, seconds: float) -> None:
        for byte in self.wire(reply):
            self.wfile.write(bytes([byte]))
            self.server.venue.sleep(seconds)
            if self.server.venue._stopping.is_set():
                break
        self.close_connection = True

    def reset(self) -> None:
        """End the connection with RST, not FIN: linger for no time, and let go of the last handle."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Quiet: requests are in `venue.requests`."""
