"""A local Bitstamp: its REST API v2 with its signatures, its two number formats and its own refusals.

Protocol: the documentation's OpenAPI text up to 2026-02-16. Headers are checked in the order missing, version, key,
timestamp, nonce, signature. Switches for tests: `cache_seconds` (open orders are shown that old), `slow_cancels` (an
order is "Cancel pending" until it is looked at), `placing_times_out` (how many orders are executed and answered with
500.016), `unsigned` and `forged` (how many answers come without a signature, or with a wrong one), `allowed_addresses`,
`answers_of_2021` (an order's state without market, side and time, and errors in words alone, as they came until then).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .candles import candle_starts, candles
from .venue import (
    Account,
    Fill,
    Order,
    Pair,
    Reject,
    Reply,
    Request,
    Transfer,
    Venue,
    fits,
    pair,
    places,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FORM = "application/x-www-form-urlencoded"
AUTH_HEADERS = {
    "X-Auth": "API0012",
    "X-Auth-Signature": "API0013",
    "X-Auth-Nonce": "API0014",
    "X-Auth-Timestamp": "API0015",
    "X-Auth-Version": "API0016",
}
WINDOW = 150
NONCE_LIFE = 300
ORDER_LIFE = 30 * 86400
#: What `time` of the transactions and `step` of the candles may be.
PERIODS = {"minute": 60, "hour": 3600, "day": 86400}
STEPS = tuple("60 180 300 900 1800 3600 7200 14400 21600 43200 86400 259200".split())
#: asset -> network, withdrawal fee, withdrawal minimum, decimals
NETWORKS = {
    "BTC": ("bitcoin", "0.00015000", "0.00020000", 8),
    "XRP": ("xrpl", "0.020000", "20.000000", 6),
    "XLM": ("stellar", "0.0050000", "1.0000000", 7),
}
TAGS = {"XRP": "destination_tag", "XLM": "memo_id"}


class RequestRefused(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def refusal(reason: Any, code: str, status: int = 400) -> Reply:
    """An order form's refusal with a response code."""
    return Reply.json(
        {"status": "error", "reason": reason, "response_code": code, "response_explanation": "See the reason."}, status
    )


def denied(reason: str, code: str) -> Reply:
    return Reply.json({"status": "error", "reason": reason, "code": code}, 403)


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


class BitstampVenue(Venue):
    name, default_key, default_secret = "bitstamp", "bitstamp-key", "bitstamp-secret"
    permissions = ("balance", "transactions", "orders", "deposits", "withdrawals", "transfers")

    def __init__(self, **options: Any) -> None:
        self.cache_seconds = 0.0
        self.slow_cancels = False
        self.placing_times_out = 0
        self.unsigned = 0
        self.forged = 0
        self.allowed_addresses: set[str] | None = None
        self.answers_of_2021 = False
        #: Key of an account -> market -> when its open orders were listed, and the rows.
        self._cached_rows: dict[str, dict[str | None, tuple[float, list[Any]]]] = {}
        super().__init__(**options)

    def default_pairs(self) -> list[Pair]:
        rules = {"cost_min": Decimal(10), "cost_places": 2, "fee": Decimal("0.0040")}
        return [
            pair("BTC", "EUR", "30010.00", "30000.00", **rules),
            pair("BTC", "USD", "32010.00", "32000.00", **rules),
            pair("XRP", "EUR", "0.50050", "0.50000", price_places=5, **rules),
        ]

    def new_id(self, kind: str) -> str:
        start = {"order": 1458532827766784, "fill": 209695701, "withdrawal": 1928222, "deposit": 35460}[kind]
        return str(start + next(self._numbers))

    def routes(self) -> dict[tuple[str, str], Callable[..., Any]]:
        public: dict[str, Callable[..., Any]] = {
            "markets/": self.markets,
            "currencies/": self.currencies,
            "ticker/": self.tickers,
            "ticker/{market}/": self.ticker,
            "ticker_hour/{market}/": self.ticker,
            "order_book/{market}/": self.order_book,
            "transactions/{market}/": self.trades,
            "ohlc/{market}/": self.ohlc,
        }
        private: dict[str, tuple[str, Callable[..., Any]]] = {
            "account_balances/": ("balance", self.balances),
            "account_balances/{currency}/": ("balance", self.one_balance),
            "fees/trading/": ("balance", self.fees),
            "fees/trading/{market}/": ("balance", self.fees),
            "order_status/": ("orders", self.order_status),
            "open_orders/": ("orders", self.open_orders),
            "open_orders/all/": ("orders", self.open_orders),
            "open_orders/{market}/": ("orders", self.open_orders),
            "cancel_order/": ("orders", self.cancel_order),
            "cancel_all_orders/": ("orders", self.cancel_all),
            "cancel_all_orders/{market}/": ("orders", self.cancel_all),
            "user_transactions/": ("transactions", self.user_transactions),
            "user_transactions/{market}/": ("transactions", self.user_transactions),
            "crypto-transactions/": ("transactions", self.crypto_transactions),
            "withdrawal-requests/": ("transactions", self.withdrawal_requests),
            "websockets_token/": ("balance", self.token),
            "transfer-to-main/": ("transfers", self.transfer_to_main),
            "transfer-from-main/": ("transfers", self.transfer_from_main),
            "{currency}_address/": ("deposits", self.deposit_address),
            "{currency}_withdrawal/": ("withdrawals", self.withdrawal),
        }
        for side in ("buy", "sell"):
            for kind, path in (("limit", ""), ("market", "market/"), ("instant", "instant/")):
                private[f"{side}/{path}{{market}}/"] = ("orders", self.placing(side, kind))
        return {
            **{("GET", f"/api/v2/{path}"): handler for path, handler in public.items()},
            **{("POST", f"/api/v2/{path}"): self.private(*entry) for path, entry in private.items()},
            ("GET", "/api/v2/crypto-transactions/deposits/"): self.private("transactions", self.crypto_deposits),
        }

    def handle(self, request: Request) -> Reply:
        try:
            return super().handle(request)
        except RequestRefused as refused:
            return self.dated(refused.reply)

    def dated(self, reply: Reply) -> Reply:
        """An error as it is answered now, or in words alone."""
        document = json.loads(reply.body) if reply.headers["Content-Type"] == "application/json" else None
        if not self.answers_of_2021 or not isinstance(document, dict):
            return reply
        return Reply.json({"error": document.get("reason") or document.get("error")}, reply.status)

    def not_found(self, request: Request) -> Reply:
        return Reply.text("<html><body><h1>Page not found</h1></body></html>", 404, "text/html; charset=utf-8")

    def fault_reply(self, kind: str, request: Request) -> Reply:
        if kind == "rate_limit":
            return self.dated(refusal("Request rate limit exceeded.", "400.002"))
        if kind == "nonce":
            return self.dated(denied("Invalid nonce", "API0004"))
        return Reply.json({"error": "Bitstamp.net is under scheduled maintenance. We'll be back soon."}, 503)

    def private(self, right: str, handler: Callable[..., Any]) -> Callable[..., Reply]:
        def call(request: Request, **names: str) -> Reply:
            account = self.account_of(request)
            if right not in account.permissions:
                raise RequestRefused(denied("No permission found", "API0003"))
            answer = handler(account, request.form if request.method == "POST" else request.args, **names)
            reply = answer if isinstance(answer, Reply) else Reply.json(answer)
            return self.sign(request, reply, account) if reply.status == 200 else reply

        return call

    def account_of(self, request: Request) -> Account:
        given = {name: request.headers.get(name, "") for name in AUTH_HEADERS}
        for name, code in AUTH_HEADERS.items():
            if not given[name]:
                raise RequestRefused(denied(f"Header {name} is required", code))
        kind = request.headers.get("Content-Type", "")
        if request.body and kind != FORM:
            raise RequestRefused(denied("Content-Type not accepted", "API0019"))
        if not request.body and kind:
            raise RequestRefused(denied("Content-Type should not be present", "API0020"))
        if given["X-Auth-Version"] != "v2":
            raise RequestRefused(denied("Invalid version", "API0010"))
        scheme, _, key = given["X-Auth"].partition(" ")
        if scheme != "BITSTAMP" or not key:
            raise RequestRefused(denied("Wrong API key format", "API0011"))
        if (account := self.accounts.get(key)) is None:
            raise RequestRefused(denied("API key not found", "API0001"))
        nonce, timestamp = given["X-Auth-Nonce"], given["X-Auth-Timestamp"]
        if not re.fullmatch(r"[0-9]{1,16}", timestamp):
            raise RequestRefused(denied("Invalid timestamp", "API0018"))
        now = self.clock()
        if abs(now - int(timestamp) / 1000) > WINDOW:
            raise RequestRefused(denied("Timestamp out of boundaries", "API0017"))
        account.nonces = {old: seen for old, seen in account.nonces.items() if now - seen < NONCE_LIFE}
        if not re.fullmatch(r"[0-9a-z-]{36}", nonce) or nonce in account.nonces:
            raise RequestRefused(denied("Invalid nonce", "API0004"))
        query = f"?{request.query}" if request.query else ""
        text = f"BITSTAMP {key}{request.method}{request.headers['Host']}{request.path}{query}{kind}{nonce}{timestamp}v2"
        expected = hmac.new(account.secret.encode(), text.encode() + request.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, given["X-Auth-Signature"].lower()):
            raise RequestRefused(denied("Invalid signature", "API0005"))
        account.nonces[nonce] = now
        return account

    def sign(self, request: Request, reply: Reply, account: Account) -> Reply:
        if self.unsigned:
            self.unsigned -= 1
            return reply
        text = request.headers["X-Auth-Nonce"] + request.headers["X-Auth-Timestamp"] + reply.headers["Content-Type"]
        signature = hmac.new(account.secret.encode(), text.encode() + reply.body, hashlib.sha256).hexdigest()
        if self.forged:
            self.forged -= 1
            signature = signature[::-1]
        return reply._replace(headers={**reply.headers, "X-Server-Auth-Signature": signature})

    def market(self, symbol: str) -> Pair:
        for known in self.pairs.values():
            if symbol == (known.asset + known.currency).lower():
                return known
        raise RequestRefused(refusal("Market not found.", "404.007", 404))

    def markets(self, request: Request) -> Any:
        rows = [
            {
                "name": known.name,
                "market_symbol": (known.asset + known.currency).lower(),
                "base_currency": known.asset,
                "base_decimals": known.amount_places,
                "counter_currency": known.currency,
                "counter_decimals": known.price_places,
                "minimum_order_value": f"{known.cost_min:f}",
                "minimum_order_amount": f"{known.amount_min:f}",
                "instant_order_counter_decimals": 2,
                "trading": "Enabled",
                "instant_and_market_orders": "Enabled",
                "description": f"{known.asset} / {known.currency}",
                "market_type": "SPOT",
            }
            for known in self.pairs.values()
        ]
        perpetual = {"name": "BTC/EUR-PERP", "market_symbol": "btceur-perp", "market_type": "PERPETUAL"}
        halted = {"name": "LTC/EUR", "market_symbol": "ltceur", "base_currency": "LTC", "trading": "Disabled"}
        return [*rows, {**rows[0], **perpetual}, {**rows[0], **halted}]

    def currencies(self, request: Request) -> Any:
        return [
            {
                "currency": name,
                "name": name.title(),
                "type": "crypto" if name in NETWORKS else "fiat",
                "decimals": NETWORKS[name][3] if name in NETWORKS else 2,
                "deposit": "Enabled",
                "withdrawal": "Enabled",
                "networks": [
                    {
                        "network": network,
                        "withdrawal_minimum_amount": least,
                        "withdrawal_decimals": digits,
                        "deposit": "Enabled",
                        "withdrawal": "Enabled",
                    }
                    for network, _, least, digits in ([NETWORKS[name]] if name in NETWORKS else [])
                ],
            }
            for name in sorted(self.names())
        ]

    def names(self) -> set[str]:
        return {name for known in self.pairs.values() for name in (known.asset, known.currency)}

    def ticker(self, request: Request, market: str) -> Any:
        known = self.market(market)
        bid, ask = known.bids[0][0], known.asks[0][0]
        return {
            "timestamp": str(int(self.clock())),
            "open": f"{bid:f}",
            "high": f"{ask:f}",
            "low": f"{bid:f}",
            "last": f"{bid:f}",
            "volume": "1234.56780000",
            "vwap": f"{bid:f}",
            "bid": f"{bid:f}",
            "ask": f"{ask:f}",
            "side": "0",
            "open_24": f"{bid:f}",
            "percent_change_24": "0.00",
            "market_type": "SPOT",
        }

    def tickers(self, request: Request) -> Any:
        return [
            {**self.ticker(request, (known.asset + known.currency).lower()), "market": known.name, "pair": known.name}
            for known in self.pairs.values()
        ]

    def order_book(self, request: Request, market: str) -> Any:
        known, now = self.market(market), self.clock()
        self.choice(request, "group", ("0", "1", "2"), "1")
        rest = self.resting(known)
        bids = known.bids + [(order.limit_price, order.left) for order in rest if order.side == "buy"]
        asks = known.asks + [(order.limit_price, order.left) for order in rest if order.side == "sell"]
        return {
            "timestamp": str(int(now)),
            "microtimestamp": str(int(now * 1_000_000)),
            "bids": [[f"{price:f}", places(amount, 8)] for price, amount in sorted(bids, reverse=True)],
            "asks": [[f"{price:f}", places(amount, 8)] for price, amount in sorted(asks)],
        }

    def trades(self, request: Request, market: str) -> Any:
        known = self.market(market)
        period = PERIODS[self.choice(request, "time", tuple(PERIODS), "hour")]
        fills = [
            fill
            for order in self.orders.values()
            if order.pair is known
            for fill in order.fills
            if self.clock() - fill.time <= period
        ]
        return [
            {
                "date": str(int(fill.time)),
                "tid": fill.id,
                "price": f"{fill.price:f}",
                "amount": places(fill.amount, 8),
                "type": "0" if fill.order.side == "buy" else "1",
            }
            for fill in reversed(fills)
        ]

    def ohlc(self, request: Request, market: str) -> Any:
        known, now = self.market(market), int(self.clock())
        step = int(self.choice(request, "step", STEPS))
        limit = self.whole_number(request, "limit")
        if limit is None or not 1 <= limit <= 1000:
            raise RequestRefused(refusal({"limit": ["Ensure this value is between 1 and 1000."]}, "400.005"))
        start, end = self.whole_number(request, "start"), self.whole_number(request, "end")
        starts = candle_starts(step, start or 0, now if end is None else min(end, now))
        # Without an end they are the first ones, else the last ones before it.
        starts = starts[:limit] if start is not None and end is None else starts[-limit:]
        listed = [
            {
                "timestamp": str(row.start),
                "open": f"{row.open:f}",
                "high": f"{row.high:f}",
                "low": f"{row.low:f}",
                "close": f"{row.close:f}",
                "volume": places(row.volume, 8),
            }
            for row in candles(known, starts)
        ]
        return {"data": {"pair": known.name, "ohlc": listed}}

    def choice(self, request: Request, name: str, allowed: tuple[str, ...], default: str = "") -> str:
        value = request.args.get(name, default)
        if value not in allowed:
            raise RequestRefused(refusal({name: [f"Select one of {', '.join(allowed)}."]}, "400.005"))
        return value

    def whole_number(self, request: Request, name: str) -> int | None:
        text = request.args.get(name)
        if text is not None and not re.fullmatch(r"[0-9]{1,12}", text):
            raise RequestRefused(refusal({name: ["Enter a whole number."]}, "400.005"))
        return None if text is None else int(text)

    def one_balance(self, account: Account, form: dict[str, str], currency: str) -> Any:
        for row in self.balances(account, form):
            if row["currency"] == currency:
                return row
        raise RequestRefused(refusal("Currency not found.", "404.006", 404))

    def balances(self, account: Account, form: dict[str, str]) -> Any:
        return [
            {
                "currency": name.lower(),
                "total": places(total, 8),
                "available": places(self.available(account, name), 8),
                "reserved": places(self.held(account, name), 8),
            }
            for name, total in sorted(account.balances.items())
        ]

    def fees(self, account: Account, form: dict[str, str], market: str | None = None) -> Any:
        rows = [
            {
                "market": (known.asset + known.currency).lower(),
                "currency_pair": (known.asset + known.currency).lower(),
                "fees": {"maker": f"{known.fee * 100:f}", "taker": f"{known.fee * 100:f}"},
            }
            for known in ([self.market(market)] if market else self.pairs.values())
        ]
        return rows[0] if market else rows

    def token(self, account: Account, form: dict[str, str]) -> Any:
        return {"token": "a-token-of-the-local-venue", "valid_sec": 60, "user_id": 1}

    def amount(self, form: dict[str, str], name: str, digits: int) -> Decimal:
        text = form.get(name)
        if not text:
            raise RequestRefused(refusal({name: ["This field is required."]}, "400.004"))
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            raise RequestRefused(refusal({name: ["Enter a number."]}, "400.005"))
        value = Decimal(text)
        if not fits(value, digits):
            reason = {name: [f"Ensure that there are no more than {digits} decimal places."]}
            raise RequestRefused(Reply.json({"status": "error", "reason": reason}, 400))
        if value <= 0:
            reason = {name: ["Ensure this value is greater than or equal to 1E-8."]}
            raise RequestRefused(Reply.json({"status": "error", "reason": reason}, 400))
        return value

    def placing(self, side: str, kind: str) -> Callable[..., Any]:
        def place(account: Account, form: dict[str, str], market: str) -> Any:
            return self.place_order(account, form, self.market(market), side, kind)

        return place

    def place_order(self, account: Account, form: dict[str, str], known: Pair, side: str, kind: str) -> Any:
        for option in ("daily_order", "limit_price"):
            if option in form:
                raise RequestRefused(refusal({option: ["Not offered by this local exchange."]}, "400.036"))
        expires = self.check_options(form, kind)
        if "amount_in_counter" in form and (kind != "instant" or form["amount_in_counter"] not in ("True", "False")):
            raise RequestRefused(refusal({"amount_in_counter": ["Not a valid choice."]}, "400.036"))
        in_counter = kind == "instant" and (side == "buy" or form.get("amount_in_counter") == "True")
        amount = self.amount(form, "amount", 2 if in_counter else known.amount_places)
        price = self.amount(form, "price", known.price_places) if kind == "limit" else None
        client_id = form.get("client_order_id")
        if client_id is not None and len(client_id) > 180:
            raise RequestRefused(
                refusal({"client_order_id": ["Ensure this value has at most 180 characters."]}, "400.041")
            )
        offers = known.asks if side == "buy" else known.bids
        if price is not None and price > offers[0][0] * Decimal("1.2"):
            raise RequestRefused(refusal({"__all__": ["Price is more than 20% above market price."]}, "400.021"))
        if price is not None and price < offers[0][0] * Decimal("0.8"):
            raise RequestRefused(refusal({"__all__": ["Price is more than 20% below market price."]}, "400.021"))
        if not in_counter and amount * (price or offers[0][0]) < known.cost_min:
            raise Reject("cost_min")
        try:
            order = self.place(
                account,
                known.name,
                side,
                amount=None if in_counter else amount,
                cost=amount if in_counter else None,
                price=price,
                client_id=client_id,
                post_only=form.get("moc_order") == "True",
                immediate=form.get("ioc_order") == "True",
                whole=form.get("fok_order") == "True",
                expires=expires,
            )
        except Reject as reject:
            if reject.code != "insufficient_funds":
                raise
            raise RequestRefused(
                self.poor(account, known, side, amount, price or offers[0][0], in_counter=in_counter)
            ) from None
        if self.placing_times_out:
            self.placing_times_out -= 1
            return Reply.json(
                {
                    "status": "error",
                    "reason": "The order was not confirmed in time.",
                    "response_code": "500.016",
                    "order_id": int(order.id),
                },
                500,
            )
        return {
            "id": order.id,
            "market": known.name,
            "datetime": stamp(order.time),
            "type": "0" if side == "buy" else "1",
            # Seen live: a market order is answered with a price that is not the one of the fills.
            "price": f"{price if price is not None else offers[0][0] * Decimal('1.3'):f}",
            "amount": f"{amount:f}",
            **({"client_order_id": client_id} if client_id is not None else {}),
        }

    def check_options(self, form: dict[str, str], kind: str) -> float | None:
        """Refuse options of a limit order that do not fit; return when it expires, in Unix seconds."""
        given = [name for name in ("ioc_order", "fok_order", "moc_order", "gtd_order") if name in form]
        for name in given:
            if form[name] != "True" or kind != "limit" or len(given) > 1:
                raise RequestRefused(refusal({name: ["Not a valid choice."]}, "400.036"))
        text = form.get("expire_time")
        if (text is None) != ("gtd_order" not in form) or (text is not None and not re.fullmatch("[0-9]{13}", text)):
            raise RequestRefused(refusal({"expire_time": ["Enter a valid time."]}, "400.036"))
        if text is not None and int(text) <= self.clock() * 1000:
            raise RequestRefused(refusal({"expire_time": ["Expire time has to be in the future."]}, "400.036"))
        return None if text is None else int(text) / 1000

    def poor(
        self, account: Account, known: Pair, side: str, amount: Decimal, price: Decimal, *, in_counter: bool
    ) -> Reply:
        """The old form, without a code: what is missing is in the sentence alone."""
        if side == "sell":
            message = f"You can only sell {places(self.available(account, known.asset), 8)} {known.asset}."
        else:
            needed = amount if in_counter else amount * price
            have = places(self.available(account, known.currency), 2)
            message = (
                f"You need {places(needed, 2)} {known.currency} to open that order. "
                f"You have only {have} {known.currency} available."
            )
        reason = {"__all__": [f"{message} Check your account balance for details."]}
        return Reply.json({"status": "error", "reason": reason}, 400)

    def refused(self, request: Request, reject: Reject) -> Reply:
        if reject.code == "no_liquidity":
            return refusal("There are no orders to trade with.", "500.004")
        messages = {
            "amount_min": "Minimum order size is not reached.",
            "cost_min": "Minimum order size is 10 EUR.",
            "price_places": "Ensure that there are no more than 2 decimal places.",
            "post_only": "Maker or cancel order would be executed at once.",
            "order_not_found": "Order not found",
            "order_not_open": "Order not found",
        }
        code = {"amount_min": "400.046", "cost_min": "400.020"}.get(reject.code)
        if code is not None:
            return refusal({"__all__": [messages[reject.code]]}, code)
        return Reply.json({"error": messages[reject.code]}, 200)

    def asked(self, account: Account, form: dict[str, str]) -> Order:
        """The order named by id or client order id (the latest one, for they may repeat), if it is young enough."""
        if "id" in form:
            order = self.order_of(account, form["id"])
        elif "client_order_id" in form:
            mine = [o for o in self.orders_of(account) if o.client_id == form["client_order_id"]]
            if not mine:
                raise Reject("order_not_found")
            order = mine[-1]
        else:
            raise RequestRefused(refusal({"id": ["This field is required."]}, "400.004"))
        if order.closed is not None and self.clock() - order.closed > ORDER_LIFE:
            raise Reject("order_not_found")
        return order

    def order_status(self, account: Account, form: dict[str, str]) -> Any:
        try:
            order = self.asked(account, form)
        except Reject:
            raise RequestRefused(refusal("Order not found.", "404.002", 404)) from None
        self.finish_cancel(order)
        left = order.left if order.amount is not None else Decimal(0)
        answer = {
            "id": int(order.id),
            "datetime": stamp(order.time),
            "type": "0" if order.side == "buy" else "1",
            "status": "Expired"
            if order.is_expired
            else {"open": "Open", "filled": "Finished", "canceled": "Canceled"}[order.status],
            "market": order.pair.name,
            "amount_remaining": places(left, 8),
        }
        if order.client_id is not None:
            answer["client_order_id"] = order.client_id
        if form.get("omit_transactions") != "True":
            answer["transactions"] = [self.transaction(fill) for fill in order.fills]
        if self.answers_of_2021:
            shown = {name: answer[name] for name in ("status", "id", "amount_remaining", "transactions")}
            return {**shown, "client_order_id": order.client_id or ""}
        return answer

    def transaction(self, fill: Fill) -> Any:
        known = fill.order.pair
        return {
            "tid": int(fill.id),
            "price": places(fill.price, 8),
            known.asset.lower(): places(fill.amount, 8),
            known.currency.lower(): places(fill.cost, 8),
            "fee": places(fill.fee, 2),
            "datetime": stamp(fill.time),
            "type": 2,
        }

    def finish_cancel(self, order: Order) -> None:
        """Carry out a pending cancellation of the order, which happens when it is looked up."""
        if order.status == "open" and order.details.pop("cancel", False):
            self.cancel(order)

    def open_orders(self, account: Account, form: dict[str, str], market: str | None = None) -> Any:
        now = self.clock()
        cached = self._cached_rows.setdefault(account.key, {})
        if market not in cached or now - cached[market][0] >= self.cache_seconds:
            cached[market] = (now, self.open_now(account, market))
        return cached[market][1]

    def open_now(self, account: Account, market: str | None) -> list[Any]:
        wanted = self.market(market) if market else None
        rows = []
        for order in self.orders_of(account, status="open"):
            self.finish_cancel(order)
            if order.status != "open" or (wanted and order.pair is not wanted):
                continue
            row = {
                "id": order.id,
                "datetime": stamp(order.time),
                "type": "0" if order.side == "buy" else "1",
                "price": f"{order.price:f}",
                "amount": places(order.left, 8),
                "amount_at_create": places(order.filled + order.left, 8),
            }
            if wanted is None:
                row |= {"market": order.pair.name, "currency_pair": order.pair.name}
            if order.client_id is not None:
                row["client_order_id"] = order.client_id
            rows.append(row)
        return rows

    def canceled(self, order: Order) -> dict[str, Any]:
        return {
            "id": int(order.id),
            "amount": order.left,
            "price": order.price,
            "type": 0 if order.side == "buy" else 1,
            "market": order.pair.name,
        }

    def cancel_order(self, account: Account, form: dict[str, str]) -> Any:
        order = self.asked(account, form)
        if self.slow_cancels and order.status == "open":
            order.details["cancel"] = True
            return {**self.canceled(order), "status": "Cancel pending"}
        self.cancel(order)
        return {**self.canceled(order), "status": "Canceled"}

    def cancel_all(self, account: Account, form: dict[str, str], market: str | None = None) -> Any:
        wanted = self.market(market) if market else None
        orders = [o for o in self.orders_of(account, status="open") if wanted in (None, o.pair)]
        for order in orders:
            self.cancel(order)
        rows = [{**self.canceled(order), "currency_pair": order.pair.name} for order in orders]
        return {"canceled": rows, "success": True}

    def user_transactions(self, account: Account, form: dict[str, str], market: str | None = None) -> Any:
        wanted = self.market(market) if market else None
        rows = [self.trade_row(fill) for fill in self.fills_of(account) if wanted in (None, fill.order.pair)]
        if wanted is None:
            rows += [self.transfer_row(made, "0", 1) for made in self.deposits.values() if made.account is account]
            rows += [self.transfer_row(made, "1", -1) for made in self.withdrawals.values() if made.account is account]
            rows += self.moved_rows(account)
        if form.get("sort", "desc") not in ("asc", "desc"):
            raise RequestRefused(refusal({"sort": ["Select a valid choice."]}, "400.005"))
        if "since_timestamp" in form:
            since = int(form["since_timestamp"])
            if since < self.clock() - 30 * 86400:
                raise RequestRefused(refusal({"since_timestamp": ["It is more than 30 days ago."]}, "400.005"))
            rows = [row for row in rows if row["datetime"] >= stamp(since)]
        rows.sort(key=lambda row: row["datetime"], reverse=form.get("sort", "desc") == "desc")
        offset, limit = int(form.get("offset", "0")), int(form.get("limit", "100"))
        if limit > 1000 or offset > 200_000:
            raise RequestRefused(refusal({"limit": ["Ensure this value is less than or equal to 1000."]}, "400.005"))
        return rows[offset : offset + limit]

    def trade_row(self, fill: Fill) -> dict[str, Any]:
        known, sign = fill.order.pair, 1 if fill.order.side == "buy" else -1
        asset, currency = known.asset.lower(), known.currency.lower()
        others = {name.lower(): Decimal("0.0") for name in self.names() - {known.asset, known.currency}}
        return {
            **others,
            "id": int(fill.id),
            "datetime": stamp(fill.time),
            "type": "2",
            "fee": places(fill.fee, 2),
            asset: places(sign * fill.amount, 8),
            currency: places(-sign * fill.cost, 2),
            f"{asset}_{currency}": fill.price,
            "order_id": int(fill.order.id),
        }

    def transfer_row(self, made: Transfer, kind: str, sign: int) -> dict[str, Any]:
        others = {name.lower(): 0 for name in self.names()}
        row = {"id": int(made.id), "datetime": stamp(made.time), "type": kind, "fee": places(made.fee, 8)}
        return {**others, **row, made.asset.lower(): places(sign * (made.amount - made.fee), 8)}

    def crypto_transactions(self, account: Account, form: dict[str, str]) -> Any:
        sent = [
            {
                "currency": made.asset,
                "network": made.network,
                "destinationAddress": made.address,
                "txid": made.txid or "",
                "amount": made.amount - made.fee,
                "datetime": int(made.time),
            }
            for made in reversed(self.withdrawals.values())
            if made.account is account
        ]
        came = [self.deposit_row(made, "destinationAddress") for made in self.crypto(account)]
        offset, limit = int(form.get("offset", "0")), int(form.get("limit", "100"))
        if limit > 1000:
            raise RequestRefused(refusal({"limit": ["Ensure this value is less than or equal to 1000."]}, "400.005"))
        pages = {"deposits": came[offset : offset + limit], "withdrawals": sent[offset : offset + limit]}
        return {**pages, "ripple_iou_transactions": []}

    def crypto_deposits(self, account: Account, form: dict[str, str]) -> Any:
        return [self.deposit_row(made, "destination_address") for made in self.crypto(account)]

    def crypto(self, account: Account) -> list[Transfer]:
        return [m for m in reversed(self.deposits.values()) if m.account is account and m.asset in NETWORKS]

    def deposit_row(self, made: Transfer, address: str) -> dict[str, Any]:
        return {
            "id": int(made.id),
            "network": made.network or NETWORKS[made.asset][0],
            "currency": made.asset,
            address: made.address,
            "txid": made.txid,
            "amount": made.amount,
            "datetime": int(made.time),
            "status": {"done": "FINALIZED", "failed": "REJECTED"}.get(made.status, "PENDING"),
        }

    def crypto_asset(self, currency: str) -> str:
        if currency.upper() not in NETWORKS or currency != currency.lower():
            raise RequestRefused(self.not_found(Request("POST", "", "", {}, b"")))
        return currency.upper()

    def deposit_address(self, account: Account, form: dict[str, str], currency: str) -> Any:
        asset = self.crypto_asset(currency)
        self.check_network(asset, form)
        answer: dict[str, Any] = {"address": self.address(account, asset)}
        if asset == "XRP":
            answer["destination_tag"] = 89473951
        elif asset == "XLM":
            answer["memo_id"] = "299576079"
        return answer

    def check_network(self, asset: str, form: dict[str, str]) -> None:
        if form.get("network", NETWORKS[asset][0]) != NETWORKS[asset][0]:
            raise RequestRefused(refusal({"network": ["Invalid network selection"]}, "400.036"))

    def withdrawal(self, account: Account, form: dict[str, str], currency: str) -> Any:
        asset = self.crypto_asset(currency)
        self.check_network(asset, form)
        network, fee, least, digits = NETWORKS[asset]
        amount, address = self.amount(form, "amount", digits), form.get("address")
        if not address:
            raise RequestRefused(refusal({"address": ["This field is required."]}, "400.004"))
        if self.allowed_addresses is not None and address not in self.allowed_addresses:
            reason = {"__all__": [f"Not allowed to withdraw to specified '{currency}' address"]}
            raise RequestRefused(Reply.json({"status": "error", "reason": reason}, 400))
        if amount < Decimal(least):
            reason = {"amount": [f"Ensure this value is greater than or equal to {least}."]}
            raise RequestRefused(Reply.json({"status": "error", "reason": reason}, 400))
        tag = form.get(TAGS.get(asset, ""))
        try:
            made = self.withdraw(account, asset, amount, address, fee=Decimal(fee), tag=tag, network=network)
        except Reject:
            have = places(self.available(account, asset), 8)
            message = f"You have only {have} {asset} available. Check your account balance for details."
            raise RequestRefused(Reply.json({"status": "error", "reason": {"amount": [message]}}, 400)) from None
        return {"id": int(made.id)}

    def number_of(self, account: Account) -> int | None:
        """The number of a sub-account: all but the venue's first account are sub-accounts of that."""
        place = [*self.accounts.values()].index(account)
        return 70_000 + place if place else None

    def transfer_from_main(self, account: Account, form: dict[str, str]) -> Any:
        if account is not self.account:
            raise RequestRefused(denied("No permission found", "API0003"))
        return self.transfer_between(account, self.subaccount(form), form)

    def transfer_to_main(self, account: Account, form: dict[str, str]) -> Any:
        """A sub-account calls for itself, whatever number it gives."""
        return self.transfer_between(self.subaccount(form) if account is self.account else account, self.account, form)

    def subaccount(self, form: dict[str, str]) -> Account:
        number = form.get("subAccount", "")
        for account in self.accounts.values():
            if number and number == str(self.number_of(account)):
                return account
        reason = {"__all__": [f'Sub account with identifier "{number}" does not exist.']}
        raise RequestRefused(Reply.json({"status": "error", "reason": reason}, 400))

    def transfer_between(self, account: Account, other: Account, form: dict[str, str]) -> Any:
        asset = form.get("currency", "")
        if asset not in self.names():
            words = f"Select a valid choice. {asset} is not one of the available choices."
            raise RequestRefused(Reply.json({"status": "error", "reason": {"currency": [words]}}, 400))
        amount = self.amount(form, "amount", 8)
        try:
            self.transfer(account, other, asset, amount)
        except Reject:
            have = places(self.available(account, asset), 8)
            words = f"You have only {have} {asset} available. Check your account balance for details."
            raise RequestRefused(Reply.json({"status": "error", "reason": {"__all__": [words]}}, 400)) from None
        return {"status": "ok"}

    def moved_rows(self, account: Account) -> list[dict[str, Any]]:
        """The transfers of an account among its transactions; which account is the other one is not told."""
        common = {name.lower(): 0 for name in self.names()} | {"type": "14", "fee": "0.00"}
        return [
            {**common, "id": int(id), "datetime": stamp(moment), asset.lower(): places(amount, 8)}
            for id, moment, asset, amount in self.transfers_of(account)
        ]

    def withdrawal_requests(self, account: Account, form: dict[str, str]) -> Any:
        back = int(form.get("timedelta", "86400"))
        if back > 50_000_000:
            raise RequestRefused(
                refusal({"timedelta": ["Ensure this value is less than or equal to 50000000."]}, "400.005")
            )
        return [
            {
                "id": int(made.id),
                "datetime": stamp(made.time)[:19],
                "type": {"BTC": 1, "XRP": 14}.get(made.asset, 0),
                "currency": made.asset,
                "network": made.network,
                "amount": places(made.amount, 8),
                "status": {"pending": 0, "done": 2, "failed": 4}[made.status],
                "txid": int(made.id),
                "address": f"{made.address}?dt={made.tag}" if made.tag and made.asset == "XRP" else made.address,
                "transaction_id": made.txid or "",
            }
            for made in reversed(self.withdrawals.values())
            if made.account is account and self.clock() - made.time <= back
        ]


VENUE = BitstampVenue
