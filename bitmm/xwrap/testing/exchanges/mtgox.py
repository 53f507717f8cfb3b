"""A local Mt.Gox: the HTTP API, versions 0, 1 and 2, with the paths of all years.

Sources as in bitmm/xwrap/exchanges/historic/mtgox. Orders are accepted without funds and then wait as "invalid", and an
order is answered before it is executed. What no source states is an assumption, and marked so: the tokens for a wrong
key, sign or right, the message of a send without funds, the sentence of version 0 after a send, the types of the rows
of money in the wallet history, the answer to asking too often.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .venue import ZERO, Account, Fill, Order, Pair, Reject, Reply, Request, Transfer, Venue, pair, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RECORDED = json.loads(
    (Path(__file__).parent / "recorded" / "mtgox-response.json").read_text(encoding="utf-8"), parse_float=Decimal
)
TICKER = RECORDED["xchange"]["v1"]["marketdata/polling/example-ticker-data.json"]["body"]
TRADES = RECORDED["xchange"]["v1"]["marketdata/polling/example-trades-data.json"]["body"]
TRADES_0 = RECORDED["xchange"]["v0"]["marketdata/example-trades-data-v0.json"]["body"]
LAG = RECORDED["ruby_gem_v1"]["lag.json"]["body"]["return"]
MYSQL = RECORDED["ruby_gem_v1"]["mysql_error"]["text_body"]

LOGIN = "Identification required to access private API"
REFUSALS = {
    "insufficient_funds": "Insufficient funds",  # believed
    "amount_min": "Order amount is too low",
    "amount_places": 'Invalid parameter "amount_int"',
    "price_places": 'Invalid parameter "price_int"',
    "cost_min": "Order amount is too low",
    "no_liquidity": "Order amount is too low",
    "order_not_found": "Order not found",
    "order_not_open": "Order not found",
    "unknown_pair": "Invalid call",
}
SIGNS = {"USD": "${}", "EUR": "{}\u00a0\u20ac", "JPY": "\u00a5{}", "BTC": "{}\u00a0BTC"}
SIDES = {"bid": "buy", "ask": "sell"}
PER_PAGE = 50
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
MICRO = 1_000_000


class MtGoxError(Exception):
    """An error as Mt.Gox writes it."""

    def __init__(self, message: str, token: str | None = None, status: int = 200) -> None:
        super().__init__(message)
        self.token = token
        self.status = status


class Row(NamedTuple):
    """A line of a wallet's history; `change` has a sign."""

    time: float
    type: str
    currency: str
    change: Decimal
    info: str
    links: list[str]
    trade: dict[str, Any] | None


class MtGoxVenue(Venue):
    """`lag`: how many times the open orders still show an order that is already executed, as "pending";
    `result_lag`: how many times its result is asked for in vain after that.
    """

    name = "mtgox"
    default_key = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
    default_secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
    permissions = ("deposit", "get_info", "trade", "withdraw")
    fees_in = "received"

    def __init__(self, **options: Any) -> None:
        self.lag = 1
        self.result_lag = 0
        self.last_tid = 0
        self.unfunded: dict[str, Order] = {}
        self.kept: dict[str, tuple[float, Reply]] = {}
        self.sent_inside: set[str] = set()
        super().__init__(**options)

    def default_pairs(self) -> list[Pair]:
        rules = {"price_places": 5, "cost_places": 5, "amount_min": Decimal("0.01"), "cost_min": ZERO}
        yen = {**rules, "price_places": 3, "cost_places": 3}
        fee = Decimal("0.006")
        return [
            pair("BTC", "USD", TICKER["sell"]["value"], TICKER["buy"]["value"], **rules, fee=fee),
            pair("BTC", "EUR", "71.30000", "70.90000", **rules, fee=fee),
            pair("BTC", "JPY", "8640.500", "8601.250", **yen, fee=fee),
        ]

    def new_id(self, kind: str) -> str:
        if kind == "fill":
            self.last_tid = max(self.last_tid + 1, int(self.clock() * MICRO))
            return str(self.last_tid)
        return uuid.uuid4().hex * 2 if kind == "withdrawal" else str(uuid.uuid4())

    def new_address(self, asset: str, network: str | None = None) -> str:
        payload = b"\0" + hashlib.sha256(super().new_address(asset, network).encode()).digest()[:20]
        payload += hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
        number, text = int.from_bytes(payload), ""
        while number:
            number, digit = divmod(number, 58)
            text = BASE58[digit] + text
        return "1" + text

    def routes(self) -> dict[tuple[str, str], Callable[..., Any]]:
        found: dict[tuple[str, str], Callable[..., Any]] = {}
        for name, call in self.public_calls().items():
            for version, path in _spellings(name, "public"):
                found["GET", path] = self.public(version, call)
        for name, (rights, call) in self.private_calls().items():
            for version, path in _spellings(name, "private"):
                found["POST", path] = self.private(version, rights, call)
        for folder in ("/api/0/", "/code/"):
            for name, call in self.public_calls_0().items():
                found["GET", folder + name] = self.public(0, call)
            for name, (rights, call) in self.private_calls_0().items():
                found["POST", folder + name] = self.private(0, rights, call)
        return found

    def public_calls(self) -> dict[str, Callable[..., Any]]:
        return {
            **dict.fromkeys(("ticker", "ticker_fast"), self.ticker),
            **dict.fromkeys(("depth", "depth/fetch", "depth/full"), self.depth),
            **dict.fromkeys(("trades", "trades/fetch"), self.trades),
            "order/lag": lambda given: LAG,
        }

    def private_calls(self) -> dict[str, tuple[tuple[str, ...], Callable[..., Any]]]:
        return {
            "info": (("get_info",), self.info),
            "orders": (("get_info", "trade"), lambda account, given: self.listed(account, self.order_object)),
            "order/add": (("trade",), self.add),
            "order/cancel": (("trade",), self.cancel_one),
            "order/result": (("get_info", "trade"), self.result),
            "wallet/history": (("get_info",), self.history),
            "bitcoin/address": (("deposit",), self.bitcoin_address),
            "bitcoin/send_simple": (("withdraw",), self.send_simple),
        }

    def public_calls_0(self) -> dict[str, Callable[..., Any]]:
        return {
            **dict.fromkeys(("data/ticker.php", "ticker.php"), self.ticker_0),
            **dict.fromkeys(("data/getDepth.php", "getDepth.php"), self.depth_0),
            **dict.fromkeys(("data/getTrades.php", "getTrades.php"), self.trades_0),
        }

    def private_calls_0(self) -> dict[str, tuple[tuple[str, ...], Callable[..., Any]]]:
        return {
            "info.php": (("get_info",), self.info),
            "getFunds.php": (("get_info",), self.funds_0),
            "getOrders.php": (("get_info", "trade"), self.orders_0),
            "buyBTC.php": (("trade",), lambda account, given: self.add_0(account, given, "buy")),
            "sellBTC.php": (("trade",), lambda account, given: self.add_0(account, given, "sell")),
            "cancelOrder.php": (("trade",), self.cancel_0),
            "btcAddress.php": (("deposit",), self.bitcoin_address),
            "withdraw.php": (("withdraw",), self.withdraw_0),
            "history_BTC.csv": (("get_info",), lambda account, given: self.csv_0(account, "BTC")),
            "history_USD.csv": (("get_info",), lambda account, given: self.csv_0(account, "USD")),
        }

    def handle(self, request: Request) -> Reply:
        if not request.headers.get("User-Agent"):
            return Reply.text("<html><body>Forbidden</body></html>", 403, "text/html")
        try:
            return super().handle(request)
        except MtGoxError as error:
            return _error(str(error), error.token, error.status)

    def public(self, version: int, call: Callable[..., Any]) -> Callable[..., Reply]:
        """The same answer for ten seconds."""

        def handler(request: Request, **given: str) -> Reply:
            kept = self.kept.get(request.target)
            if kept is None or self.clock() >= kept[0] + 10:
                if version == 0:
                    given = {"pair": "BTC" + request.args.get("Currency", "USD")}
                answer = _envelope(version, call({**request.args, **given}))
                kept = self.kept[request.target] = (self.clock(), answer)
            return kept[1]

        return handler

    def private(self, version: int, rights: tuple[str, ...], call: Callable[..., Any]) -> Callable[..., Reply]:
        def handler(request: Request, **given: str) -> Reply:
            account = self.signer(request, version)
            if not account.permissions.intersection(rights):
                raise MtGoxError(LOGIN, "login_error_invalid_rights", 403)  # believed
            answer = call(account, {**request.form, **given})
            return answer if isinstance(answer, Reply) else _envelope(version, answer)

        return handler

    def signer(self, request: Request, version: int) -> Account:
        """The account whose key signed these bytes, with a number that is new."""
        if "Rest-Key" not in request.headers:
            raise MtGoxError(LOGIN, "login_error_missing_rest_key", 403)
        account = self.accounts.get(request.headers["Rest-Key"])
        if account is None:
            raise MtGoxError(LOGIN, "login_error_invalid_rest_key", 403)  # believed
        message = request.body
        if version == 2:
            message = request.path.removeprefix("/api/2/").encode() + b"\0" + message
        wanted = hmac.new(base64.b64decode(account.secret), message, hashlib.sha512).digest()
        try:
            given = base64.b64decode(request.headers.get("Rest-Sign", ""), validate=True)
        except binascii.Error:
            given = b""
        if not hmac.compare_digest(wanted, given):
            raise MtGoxError(LOGIN, "login_error_invalid_rest_sign", 403)  # believed
        form = request.form if request.headers.get("Content-Type", "").startswith("application/x-www-form") else {}
        if not (self.new_nonce(account, form) if "nonce" in form else self.new_tonce(account, form.get("tonce", ""))):
            raise MtGoxError(LOGIN, "login_error_invalid_nonce", 403)
        return account

    def new_nonce(self, account: Account, form: Mapping[str, str]) -> bool:
        """Strictly rising, 64 bits."""
        text = form["nonce"]
        if "tonce" in form or not re.fullmatch(r"\d{1,20}", text, re.ASCII) or not account.nonce < int(text) < 2**64:
            return False
        account.nonce = int(text)
        return True

    def new_tonce(self, account: Account, text: str) -> bool:
        """The time in microseconds, within ten seconds, each only once."""
        if not re.fullmatch(r"\d{16}", text, re.ASCII) or text in account.nonces:
            return False
        if abs(int(text) - self.clock() * MICRO) > 10 * MICRO:
            return False
        account.nonces[text] = self.clock()
        return True

    def refused(self, request: Request, reject: Reject) -> Reply:
        return _error(REFUSALS[reject.code], None, 200)

    def fault_reply(self, kind: str, request: Request) -> Reply:
        if kind == "nonce":
            return _error(LOGIN, "login_error_invalid_nonce", 403)
        if kind == "maintenance":
            return Reply.text(MYSQL)
        return Reply.text("<html><body>Too many requests</body></html>", 429, "text/html", Retry_After="10")

    def not_found(self, request: Request) -> Reply:
        return _error("Invalid call", None, 200)

    def named(self, given: Mapping[str, str]) -> Pair:
        """The pair that a path names, or Currency in version 0."""
        name = given.get("pair", "")
        try:
            return self.pairs[f"{name[:3]}/{name[3:]}"]
        except KeyError:
            raise MtGoxError("Invalid call") from None

    def sides(self, book: Pair) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """Asks and bids, both ascending, with the orders of the accounts."""
        rest = self.resting(book)
        asks = book.asks + [(order.limit_price, order.left) for order in rest if order.side == "sell"]
        bids = book.bids + [(order.limit_price, order.left) for order in rest if order.side == "buy"]
        return sorted(asks), sorted(bids)

    def ticker(self, given: Mapping[str, str]) -> Any:
        book = self.named(given)
        asks, bids = self.sides(book)
        best = {"buy": bids[-1][0], "sell": asks[0][0]}
        day = {name: TICKER[name]["value"] for name in TICKER if name not in ("buy", "sell", "vol", "now")}
        if book.currency != "USD":
            day = dict.fromkeys(day, bids[-1][0])
        return {
            **{name: money(Decimal(value), book.currency) for name, value in {**day, **best}.items()},
            "vol": TICKER["vol"],
            "item": "BTC",
            "now": str(int(self.clock() * MICRO)),
        }

    def ticker_0(self, given: Mapping[str, str]) -> Any:
        document = self.ticker(given)
        names = ("high", "low", "avg", "vwap", "vol", "last_all", "last_local", "last", "buy", "sell")
        return {"ticker": {name: noisy(Decimal(document[name]["value"])) for name in names}}

    def depth(self, given: Mapping[str, str]) -> Any:
        book, stamp = self.named(given), str(int(self.clock() * MICRO))
        asks, bids = self.sides(book)
        rows = {
            name: [
                {
                    "price": price,
                    "amount": amount,
                    "price_int": units(price, book.currency),
                    "amount_int": units(amount, "BTC"),
                    "stamp": stamp,
                }
                for price, amount in side
            ]
            for name, side in (("asks", asks), ("bids", bids))
        }
        limits = {"filter_min_price": bids[-1][0] * 9 / 10, "filter_max_price": asks[0][0] * 11 / 10}
        return {**rows, **{name: money(price, book.currency) for name, price in limits.items()}}

    def depth_0(self, given: Mapping[str, str]) -> Any:
        asks, bids = self.sides(self.named(given))
        sides = (("asks", asks), ("bids", bids))
        return {name: [[noisy(price), noisy(amount)] for price, amount in side] for name, side in sides}

    def trades(self, given: Mapping[str, str]) -> Any:
        book = self.named(given)
        mine = [fill for order in self.orders.values() if order.pair is book for fill in order.fills]
        rows = [*(TRADES if book.currency == "USD" else []), *(public_trade(fill) for fill in mine)]
        return [row for row in rows if int(row["tid"]) > int(given.get("since", 0))]

    def trades_0(self, given: Mapping[str, str]) -> Any:
        recorded = {row["tid"] for row in TRADES}
        mine = [row for row in self.trades(given) if row["tid"] not in recorded]
        rows = [*TRADES_0, *({**row, "primary": "Y"} for row in mine)]
        return [row for row in rows if int(row["tid"]) > int(given.get("since", 0))][:100]

    def info(self, account: Account, given: Mapping[str, str]) -> Any:
        return {
            "Login": self.name,
            "Index": "130034",
            "Id": str(uuid.uuid5(uuid.NAMESPACE_OID, account.key)),
            "Rights": sorted(account.permissions),
            "Language": "en_US",
            "Created": "2012-03-03 18:53:47",
            "Last_Login": "2012-03-04 16:54:40",
            "Wallets": {
                currency: {
                    "Balance": money(owned, currency),
                    "Operations": len(self.rows(account, currency)),
                    "Daily_Withdraw_Limit": money(Decimal(1000), currency),
                    "Monthly_Withdraw_Limit": None if currency == "BTC" else money(Decimal(10000), currency),
                    "Max_Withdraw": money(Decimal(1000), currency),
                    "Open_Orders": money(self.held(account, currency), currency),
                }
                for currency, owned in account.balances.items()
            },
            "Monthly_Volume": money(ZERO, "BTC"),
            "Trade_Fee": Decimal("0.6"),
        }

    def funds_0(self, account: Account, given: Mapping[str, str]) -> Any:
        usd, btc = account.balances["USD"], account.balances["BTC"]
        return {
            "usds": places(usd, 5),
            "btcs": places(btc, 8),
            "new_usds": money(usd, "USD"),
            "new_btcs": money(btc, "BTC"),
        }

    def bitcoin_address(self, account: Account, given: Mapping[str, str]) -> Any:
        """The current one until it was used; with a description always a new one."""
        mine = account.addresses.get("BTC", [])
        used = any(made.address == mine[-1] for made in self.deposits.values()) if mine else False
        return {"addr": self.address(account, "BTC", new=used or "description" in given)}

    def add(self, account: Account, given: Mapping[str, str]) -> Any:
        side = SIDES.get(given.get("type", ""))
        if side is None:
            raise MtGoxError('Invalid parameter "type" (should be ask or bid)')
        book = self.named(given)
        amount = asked(given, "amount", "BTC")
        price = asked(given, "price", book.currency) if given.keys() & {"price", "price_int"} else None
        return self.accept(account, book, side, amount, price).id

    def add_0(self, account: Account, given: Mapping[str, str], side: str) -> Any:
        book = self.named({"pair": "BTC" + given.get("Currency", "USD")})
        price = decimal(given, "price") if "price" in given else None
        self.accept(account, book, side, decimal(given, "amount"), price)
        return self.orders_0(account, given)

    def accept(self, account: Account, book: Pair, side: str, amount: Decimal, price: Decimal | None) -> Order:
        """Take the order; without funds it waits, and is no part of the book."""
        try:
            order = self.place(account, book.name, side, amount=amount, price=price)
        except Reject as reject:
            if reject.code != "insufficient_funds":
                raise
            order = Order(self.new_id("order"), None, account, book, side, amount, price, None, self.clock())
            self.unfunded[order.id] = order
            self._ledger.append(
                {
                    "kind": "order",
                    "order_id": order.id,
                    "client_id": None,
                    "side": side,
                    "pair": book.name,
                    "amount": f"{amount:f}",
                    "price": None if price is None else f"{price:f}",
                    "time": order.time,
                }
            )
        over = order.status != "open"
        order.details = {"lag": self.lag * over, "result_lag": self.result_lag * over, "of": amount}
        return order

    def listed(self, account: Account, view: Callable[[Order, Decimal, str], Any]) -> list[Any]:
        """The open orders, also those that wait for funds, and those whose end has not come through yet."""
        rows = []
        for order in [*self.orders_of(account), *self.unfunded.values()]:
            if order.account is not account:
                continue
            if order.id in self.unfunded:
                rows.append(view(order, order.details["of"], "invalid"))
            elif order.status == "open":
                rows.append(view(order, order.left, "open"))
            elif order.details["lag"] > 0:
                order.details["lag"] -= 1
                rows.append(view(order, order.details["of"], "pending"))
        return rows

    def order_object(self, order: Order, amount: Decimal, status: str) -> Any:
        document: dict[str, Any] = {
            "oid": order.id,
            "currency": order.pair.currency,
            "item": "BTC",
            "type": "bid" if order.side == "buy" else "ask",
            "amount": money(amount, "BTC"),
            "effective_amount": money(ZERO if status == "invalid" else amount, "BTC"),
            "status": status,
            "date": int(order.time),
            "priority": str(int(order.time * MICRO)),
            "actions": [],
        }
        if order.price is not None:
            document["price"] = money(order.price, order.pair.currency)
        return document

    def orders_0(self, account: Account, given: Mapping[str, str]) -> Any:
        return {**self.funds_0(account, given), "orders": self.listed(account, order_object_0)}

    def mine(self, account: Account, oid: str) -> Order:
        if oid in self.unfunded and self.unfunded[oid].account is account:
            return self.unfunded[oid]
        return self.order_of(account, oid)

    def cancel_one(self, account: Account, given: Mapping[str, str]) -> Any:
        order = self.mine(account, given.get("oid", ""))
        if self.unfunded.pop(order.id, None) is None:
            self.cancel(order)
        return {"oid": order.id, "qid": str(uuid.uuid4())}

    def cancel_0(self, account: Account, given: Mapping[str, str]) -> Any:
        self.cancel_one(account, given)
        return self.orders_0(account, given)

    def result(self, account: Account, given: Mapping[str, str]) -> Any:
        if given.get("type") not in SIDES:
            raise MtGoxError('Invalid parameter "type" (should be ask or bid)')
        try:
            order = self.mine(account, given.get("order", ""))
        except Reject:
            order = None
        if order is None or order.side != SIDES[given["type"]] or not order.fills or order.details["lag"] > 0:
            raise MtGoxError("Order not found", "unknown_order_id")
        if order.details["result_lag"] > 0:
            order.details["result_lag"] -= 1
            raise MtGoxError("Order not found", "unknown_order_id")
        currency = order.pair.currency
        return {
            "order_id": order.id,
            "trades": [
                {
                    "trade_id": fill.id,
                    "primary": "Y",
                    "currency": currency,
                    "type": given["type"],
                    "properties": properties(order),
                    "item": "BTC",
                    "amount": money(fill.amount, "BTC"),
                    "price": money(fill.price, currency),
                    "spent": money(fill.cost, currency),
                    "date": datetime.fromtimestamp(fill.time, UTC).strftime("%Y-%m-%d %H:%M:%S"),
                }
                for fill in order.fills
            ],
            "total_amount": money(order.filled, "BTC"),
            "total_spent": money(order.spent, currency),
            "avg_cost": money(order.average or ZERO, currency),
        }

    def rows(self, account: Account, currency: str) -> list[Row]:
        """What changed a wallet, oldest first."""
        rows: list[Row] = []
        for fill in self.fills_of(account):
            rows += trade_rows(fill)
        rows += [transfer_row(made, "deposit", 1) for made in self.deposits.values() if made.account is account]
        rows += [transfer_row(made, "withdraw", -1) for made in self.withdrawals.values() if made.account is account]
        return sorted((row for row in rows if row.currency == currency), key=lambda row: row.time)

    def history(self, account: Account, given: Mapping[str, str]) -> Any:
        currency = given.get("currency", "")
        if currency not in account.balances:
            raise MtGoxError('Invalid parameter "currency"')  # believed
        balance, lines = account.balances[currency], []
        rows = self.rows(account, currency)
        for index, row in reversed(list(enumerate(rows, start=1))):
            line = {
                "Index": str(index),
                "Date": int(row.time),
                "Type": row.type,
                "Value": money(abs(row.change), currency),
                "Balance": money(balance, currency),
                "Info": row.info,
                "Link": row.links,
            }
            lines.append(line if row.trade is None else {**line, "Trade": row.trade})
            balance -= row.change
        page = int(given.get("page", 1))
        return {
            "records": str(len(lines)),
            "result": lines[(page - 1) * PER_PAGE : page * PER_PAGE],
            "current_page": page,
            "max_page": max(1, -(-len(lines) // PER_PAGE)),
            "max_results": PER_PAGE,
        }

    def csv_0(self, account: Account, currency: str) -> Reply:
        lines = ["Index,Date,Type,Info,Value,Balance"]  # believed
        for row in reversed(self.history(account, {"currency": currency})["result"]):
            date = datetime.fromtimestamp(row["Date"], UTC).strftime("%Y-%m-%d %H:%M:%S")
            value, balance = row["Value"]["value"], row["Balance"]["value"]
            lines.append(f'{row["Index"]},"{date}",{row["Type"]},"{row["Info"]}",{value},{balance}')
        return Reply.text("\n".join(lines) + "\n", kind="text/csv")

    def send_simple(self, account: Account, given: Mapping[str, str]) -> Any:
        fee = asked({"fee_int": given.get("fee_int", "0")}, "fee", "BTC")
        if fee > Decimal("0.01"):
            raise MtGoxError('Invalid parameter "fee_int"')  # believed
        return {"trx": self.send(account, asked(given, "amount", "BTC"), given.get("address", ""), fee)}

    def withdraw_0(self, account: Account, given: Mapping[str, str]) -> Any:
        if given.get("group1") != "BTC":
            raise MtGoxError("Invalid call")
        self.send(account, decimal(given, "amount"), given.get("btca", ""), ZERO)
        return {"status": "Your transfer was accepted", **self.funds_0(account, given)}  # the sentence is believed

    def send(self, account: Account, amount: Decimal, address: str, fee: Decimal) -> str:
        if not re.fullmatch(r"[13][1-9A-HJ-NP-Za-km-z]{25,34}", address, re.ASCII):
            raise MtGoxError('Invalid parameter "address"')  # believed
        made = self.withdraw(account, "BTC", amount + fee, address, fee=fee)
        to = next((other for other in self.accounts.values() if address in other.addresses.get("BTC", ())), None)
        made.txid = made.id
        if to is not None:
            self.deposit("BTC", amount, account=to)
            made.txid = str(uuid.uuid4())
        return made.txid


def _spellings(name: str, folder: str) -> Iterable[tuple[int, str]]:
    """The paths that a call of versions 1 and 2 had over the years; an account's calls have "generic" for the pair."""
    yield 1, f"/api/1/{{pair}}/{name}"
    yield 1, f"/api/1/{{pair}}/{folder}/{name}"
    yield 2, f"/api/2/{{pair}}/money/{name}"
    yield 2, f"/api/2/money/{name}"


def _envelope(version: int, data: Any) -> Reply:
    if version == 0:
        return Reply.json(data)
    return Reply.json({"result": "success", "return" if version == 1 else "data": data})


def _error(message: str, token: str | None, status: int) -> Reply:
    document = {"result": "error", "error": message}
    return Reply.json(document if token is None else {**document, "token": token}, status)


def digits(currency: str) -> int:
    return {"BTC": 8, "JPY": 3, "SEK": 3}.get(currency, 5)


def rounded(amount: Decimal, currency: str) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-digits(currency)), ROUND_HALF_UP)


def units(amount: Decimal, currency: str) -> str:
    return f"{rounded(amount, currency).scaleb(digits(currency)):f}"


def money(amount: Decimal, currency: str) -> dict[str, str]:
    exact = rounded(amount, currency)
    sign = SIGNS.get(currency, "{} " + currency)
    return {
        "value": f"{exact:f}",
        "value_int": units(amount, currency),
        "display": sign.format(f"{exact:,f}"),
        "display_short": sign.format(f"{exact:,.2f}"),
        "currency": currency,
    }


def noisy(amount: Decimal) -> Decimal:
    """The digits of a binary float, as version 0 sent them: 16.800000000000001."""
    return Decimal(f"{float(amount):.17g}")


def asked(given: Mapping[str, str], name: str, currency: str) -> Decimal:
    """A parameter in whole units, or its deprecated twin in plain digits."""
    text = given.get(f"{name}_int")
    if text is None:
        return decimal(given, name)
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise MtGoxError(f'Invalid parameter "{name}_int"')  # believed
    return Decimal(text).scaleb(-digits(currency))


def decimal(given: Mapping[str, str], name: str) -> Decimal:
    if not re.fullmatch(r"\d{1,12}(\.\d{1,8})?", given.get(name, ""), re.ASCII):
        raise MtGoxError(f'Invalid parameter "{name}"')  # believed
    return Decimal(given[name])


def properties(order: Order) -> str:
    return "market" if order.price is None else "limit"


def order_object_0(order: Order, amount: Decimal, status: str) -> Any:
    currency = order.pair.currency
    document = {
        "oid": order.id,
        "currency": currency,
        "item": "BTC",
        "type": 2 if order.side == "buy" else 1,
        "amount": places(amount, 8),
        "amount_int": units(amount, "BTC"),
        "status": 0 if status == "invalid" else 1,
        "real_status": status,
        "dark": 0,
        "date": int(order.time),
        "priority": str(int(order.time * MICRO)),
    }
    if order.price is not None:
        document |= {"price": places(order.price, digits(currency)), "price_int": units(order.price, currency)}
    return document


def public_trade(fill: Fill) -> Any:
    currency = fill.order.pair.currency
    return {
        "date": int(fill.time),
        "price": f"{fill.price.normalize():f}",
        "amount": f"{fill.amount.normalize():f}",
        "price_int": units(fill.price, currency),
        "amount_int": units(fill.amount, "BTC"),
        "tid": fill.id,
        "price_currency": currency,
        "item": "BTC",
        "trade_type": "bid" if fill.order.side == "buy" else "ask",
        "primary": "Y",
        "properties": properties(fill.order),
    }


def trade_rows(fill: Fill) -> list[Row]:
    """A trade in both wallets; the fee of a buy is taken in BTC, that of a sell in the currency."""
    order, currency = fill.order, fill.order.pair.currency
    buys = order.side == "buy"
    info = (
        f"BTC {'bought' if buys else 'sold'}: [tid:{fill.id}] {places(fill.amount, 8)} BTC at"
        f" {money(fill.price, currency)['display']}"
    )
    trade = {
        "oid": order.id,
        "app": None,
        "tid": fill.id,
        "Amount": money(fill.amount, "BTC"),
        "Properties": properties(order),
    }

    def row(kind: str, name: str, change: Decimal, message: str) -> Row:
        return Row(fill.time, kind, name, change, message, [str(uuid.uuid4()), "Money_Trade", fill.id], trade)

    sign = 1 if buys else -1
    rows = [
        row("in" if buys else "out", "BTC", sign * fill.amount, info),
        row("spent" if buys else "earned", currency, -sign * fill.cost, info),  # the types are believed
    ]
    if fill.fee:
        rate = f" ({order.pair.fee * 100:f}".rstrip("0") + "% fee)"
        rows.append(row("fee", fill.fee_currency, -fill.fee, info + rate))
    return rows


def transfer_row(made: Transfer, kind: str, sign: int) -> Row:
    links = [str(uuid.uuid5(uuid.NAMESPACE_OID, made.id)), "Money_Bitcoin_Block_Tx_Out", made.txid or ""]
    return Row(made.time, kind, made.asset, sign * made.amount, made.address, links, None)


VENUE = MtGoxVenue
