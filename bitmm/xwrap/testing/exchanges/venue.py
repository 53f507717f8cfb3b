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

        def refused(self, request, reject):      # a Reject of Venue, as this exchange answers it
            return Reply.json({"error": reject.code}, 400)

        def fault_reply(self, kind, request):    # the faults rate_limit, nonce and maintenance
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
import re
import time
import traceback
from collections.abc import Callable, Mapping
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, localcontext
from typing import Any
from urllib.parse import unquote

from .http_server import FAULTS, LocalServer
from .messages import Reply, Request, dumps
from .records import ZERO, Account, Fill, Order, Pair, Reject, Take, Transfer, fits, pair, places

#: All that a module of one exchange needs.
__all__ = [
    "FAULTS",
    "ZERO",
    "Account",
    "Fill",
    "Order",
    "Pair",
    "Reject",
    "Reply",
    "Request",
    "Transfer",
    "Venue",
    "dumps",
    "fits",
    "pair",
    "places",
]


class Venue(LocalServer):
    """One local exchange: accounts, a book per pair, and a ledger; `LocalServer` is its HTTP side."""

    name = "venue"
    default_key = "key"
    default_secret = "secret"
    #: All the rights there are, named as the exchange does; a new account has all of them.
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
        super().__init__(port)
        self.clock = clock
        self.key = key or self.default_key
        self.secret = secret or self.default_secret
        self.pairs = {pair.name: pair for pair in pairs or self.default_pairs()}
        self.accounts: dict[str, Account] = {}
        self.orders: dict[str, Order] = {}
        self.open: dict[str, Order] = {}
        self.withdrawals: dict[str, Transfer] = {}
        self.deposits: dict[str, Transfer] = {}
        #: Id, time, from and to which account, asset and amount.
        self.transfers: list[tuple[str, float, Account, Account, str, Decimal]] = []
        self._numbers = itertools.count(1001)
        self._ledger: list[dict[str, Any]] = []
        self._routes = [(method, _pattern(path), handler) for (method, path), handler in self.routes().items()]
        self.account = self.add_account(self.key, self.secret, balances)

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
            if order.account is account and (price := order.price or order.stop) is not None:
                if order.side == "sell" and order.pair.asset == asset:
                    total += order.left
                elif order.side == "buy" and order.pair.currency == asset:
                    total += self._cost(order.pair, order.left, price)
        return total

    def available(self, account: Account, asset: str) -> Decimal:
        return account.balances.get(asset, ZERO) - self.held(account, asset)

    def address(self, account: Account, asset: str, *, network: str | None = None, new: bool = False) -> str:
        """The account's deposit address: always the same one until a `new` one is asked for."""
        mine = account.addresses.setdefault(network or asset, [])
        if new or not mine:
            mine.append(self.new_address(asset, network))
        return mine[-1]

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
        whole: bool = False,
        expires: float | None = None,
        stop: Decimal | None = None,
    ) -> Order:
        """Accept and match an order: a limit order with `price` (it rests, unless `immediate`), else a market order.

        A `whole` one is filled whole at once, or canceled. One that rests is canceled when it `expires` (Unix seconds).
        One with a `stop` waits until the best price falls (sell) or rises (buy) to it.
        Exactly one of `amount` (asset) and `cost` (currency, market orders) is given. Raises Reject, and then nothing
        was executed.
        """
        if (pair := self.pairs.get(pair_name)) is None:
            raise Reject("unknown_pair")
        if amount is not None and not fits(amount, pair.amount_places):
            raise Reject("amount_places")
        for each in (price, stop):
            if each is not None and (each <= 0 or not fits(each, pair.price_places)):
                raise Reject("price_places")
        if amount is not None and amount < pair.amount_min:
            raise Reject("amount_min")
        worth = amount * price if amount is not None and price is not None else cost
        if worth is not None and worth < pair.cost_min:
            raise Reject("cost_min")
        order = Order("", client_id, account, pair, side, amount, price, cost, self.clock())
        order.stop = None if stop is not None and self._reaches_stop(order, stop) else stop
        takes = self._takes(order)
        if takes and post_only:
            raise Reject("post_only")
        if price is None and order.stop is None and not takes:
            raise Reject("no_liquidity")
        immediate = immediate or whole
        if whole and sum((take.amount for take in takes), ZERO) < order.left:
            takes = []
        order.expires = expires
        self._check_funds(order, takes, rests=order.stop is not None or (price is not None and not immediate))
        order.id = self.new_id("order")
        self.orders[order.id] = self.open[order.id] = order
        self._fill(order, takes)
        if order.status == "open" and order.stop is None and (price is None or immediate):
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
                "price": f"{price or stop:f}"
                if order.average is None or price is not None
                else places(order.average, 10),
                "time": order.time,
            }
        )
        return order

    def resting(self, pair: Pair) -> list[Order]:
        """Return the limit orders that wait in the book of the pair, oldest first."""
        return [order for order in self.open.values() if order.pair is pair and order.is_in_book]

    def order_of(self, account: Account, order_id: str) -> Order:
        order = self.orders.get(order_id)
        if order is None or order.account is not account:
            raise Reject("order_not_found")
        return order

    def amend(self, order: Order, amount: Decimal, price: Decimal, *, post_only: bool = False) -> None:
        """Give an open limit order another amount, in all, and another price; it is matched anew.

        Raises Reject, and then it is as before. One that has more filled than the amount is canceled.
        """
        if order.status != "open":
            raise Reject("order_not_open")
        if not fits(amount, order.pair.amount_places):
            raise Reject("amount_places")
        if price <= 0 or not fits(price, order.pair.price_places):
            raise Reject("price_places")
        before = order.amount, order.price
        del self.open[order.id]  # What it holds is free for it.
        order.amount, order.price = max(amount, order.filled), price
        try:
            takes = self._takes(order)
            if takes and post_only:
                raise Reject("post_only")
            self._check_funds(order, takes, rests=True)
        except Reject:
            order.amount, order.price = before
            raise
        finally:
            self.open[order.id] = order
        if amount <= order.filled:
            self._close(order, "canceled")
        else:
            self._fill(order, takes)

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
        """Move the best standing offers to `ask` and `bid`; resting orders that they reach are filled as makers, and
        those whose stop they reach begin.
        """
        with self.lock:
            pair = self.pairs[pair_name]
            step = Decimal(1).scaleb(-pair.price_places)
            pair.asks = [((price + ask - pair.asks[0][0]).quantize(step), amount) for price, amount in pair.asks]
            pair.bids = [((price + bid - pair.bids[0][0]).quantize(step), amount) for price, amount in pair.bids]
            for order in list(self.open.values()):
                if order.pair is not pair:
                    continue
                if order.stop is not None:
                    self._begin_at_stop(order)
                    continue
                offers = [
                    Take(order.limit_price, take.amount, None) for take in self._takes(order) if take.rest is None
                ]
                self._fill(order, offers, maker=True)

    @staticmethod
    def _reaches_stop(order: Order, stop: Decimal) -> bool:
        return order.pair.asks[0][0] >= stop if order.side == "buy" else order.pair.bids[0][0] <= stop

    def _begin_at_stop(self, order: Order) -> None:
        """Let an order whose stop is reached be what it is without: what a market order does not get is canceled."""
        if order.stop is None or not self._reaches_stop(order, order.stop):
            return
        order.stop = None
        takes = self._takes(order)
        try:
            self._check_funds(order, takes, rests=False)
        except Reject:
            takes = []
        self._fill(order, takes)
        if order.status == "open" and order.price is None:
            self._close(order, "canceled")

    def _takes(self, order: Order) -> list[Take]:
        """Return what the book gives this order now, best price first. An account does not trade with itself."""
        if order.stop is not None:
            return []
        buys = order.side == "buy"
        offers = [Take(price, amount, None) for price, amount in (order.pair.asks if buys else order.pair.bids)]
        offers += [
            Take(rest.limit_price, rest.left, rest)
            for rest in self.open.values()
            if rest.pair is order.pair
            and rest.side != order.side
            and rest.account is not order.account
            and rest.is_in_book
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
                needed += self._cost(pair, order.left - taken, order.price or order.stop or ZERO)
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

    def transfer(self, account: Account, other: Account, asset: str, amount: Decimal) -> str:
        """Move `amount` to another account, and return the id of that. Raises Reject when nothing was moved."""
        if amount <= 0:
            raise Reject("amount_min")
        if amount > self.available(account, asset):
            raise Reject("insufficient_funds")
        account.balances[asset] -= amount
        other.balances[asset] = other.balances.get(asset, ZERO) + amount
        id, now = self.new_id("withdrawal"), self.clock()
        self.transfers.append((id, now, account, other, asset, amount))
        self._ledger.append(
            {
                "kind": "transfer",
                "order_id": id,
                "client_id": None,
                "side": "transfer",
                "pair": asset,
                "amount": f"{amount:f}",
                "price": None,
                "time": now,
            }
        )
        return id

    def transfers_of(self, account: Account) -> list[tuple[str, float, str, Decimal]]:
        """Return id, time, asset and amount of the account's transfers; what left is below zero."""
        made = []
        for id, moment, giving, taking, asset, amount in self.transfers:
            made += [(id, moment, asset, sign * amount) for one, sign in ((giving, -1), (taking, 1)) if one is account]
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
        """Every order, withdrawal and transfer that was really executed, oldest first: what tests compare with."""
        with self.lock:
            return [dict(row) for row in self._ledger]

    def _end_expired(self) -> None:
        for order in list(self.open.values()):
            if order.expires is not None and order.expires <= self.clock():
                order.is_expired = True
                self._close(order, "canceled")

    def answer(self, request: Request) -> Reply:
        """Execute one request; a mistake of the venue itself is a 500 and fails the test that uses the venue."""
        with self.lock, localcontext(prec=100):
            self._end_expired()
            try:
                return self.handle(request)
            except Reject as reject:
                return self.refused(request, reject)
            except Exception:
                self.bugs.append(traceback.format_exc())
                return Reply.text("the venue itself failed", 500)

    def control(self, request: Request) -> Reply:
        if request.target == "/_venue/ledger":
            return Reply.json(self.ledger())
        return super().control(request)


def _booked(money: Decimal, pair: Pair) -> Decimal:
    return money.quantize(Decimal(1).scaleb(-pair.cost_places), ROUND_HALF_UP)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))
