"""A local hub: the wiki page "API" of tafa/account-hub (2011), with the choices of bitmm/xwrap/exchanges/historic/hub.

`authentication` 1 or 2, `encoding` "form" or "json", `method` POST or GET and `key_encoding` are attributes to set
before the first call; `functions` are those that the overview lists, `req_url` its template (None: the true one).
Amounts are text; a number in JSON is refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from .venue import Account, Order, Pair, Reject, Reply, Request, Venue, pair

if TYPE_CHECKING:
    from collections.abc import Mapping

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
WINDOW = 60

#: Function -> what the key must be allowed to do; the protocol's page names no rights.
RIGHTS = {
    "my-balance": "read",
    "my-open-orders": "read",
    "find-invoices": "read",
    "place-order": "trade",
    "cancel-order": "trade",
    "new-btc-address": "read",
    "send-btc": "send",
    "create-authkey": "send",
}
#: Called without authentication; create-account is listed only by a hub that is open to everybody.
PUBLIC = {"create-account", "ticker"}
PARAMETERS = {
    "send-btc": {"to_btc_address", "amount"},
    "place-order": {"trade_amt", "trade_cur", "for_amt", "for_cur"},
    "cancel-order": {"oid"},
    "ticker": {"cur_a", "cur_b"},
}
AUTHENTICATION = {1: {"name", "pass"}, 2: {"f", "account", "nonce_ms", "nonce_random"}}
REFUSALS = {
    "insufficient_funds": (422, "not enough funds", "insufficient_funds"),
    "amount_min": (400, "the amount is too small", "invalid_amount"),
    "cost_min": (400, "the amount is too small", "invalid_amount"),
    "amount_places": (400, "the amount has too many decimals", "invalid_amount"),
    "price_places": (400, "the price cannot be used", "invalid_price"),
    "unknown_pair": (400, "no such market", "unknown_market"),
    "order_not_found": (400, "no such order", "order_not_found"),
    "order_not_open": (400, "the order is over", "order_not_open"),
}
#: A limit price is the quotient of two amounts, rounded to this many decimals in favour of who gave the order.
PRICE_PLACES = 16
AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,8})?", re.ASCII)


class HubError(Exception):
    """An error with its status and its code."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class HubVenue(Venue):
    name = "hub"
    default_key = "hub-venue-token"
    default_secret = "correct horse battery"
    permissions = ("read", "trade", "send")

    def __init__(self, **options: Any) -> None:
        self.authentication = 2
        self.encoding = "form"
        self.method = "POST"
        self.key_encoding = "utf-8"
        self.functions = [*RIGHTS, "ticker"]
        self.req_url: str | None = None
        self.reports_txid = True
        #: Authkey token -> account and key.
        self.authkeys: dict[str, tuple[Account, str]] = {}
        super().__init__(**options)

    def default_pairs(self) -> list[Pair]:
        rules = {"price_places": 2, "cost_places": 8, "amount_min": Decimal("0.0001"), "cost_min": Decimal(0)}
        pairs = [
            pair("BTC", "USD", "371.20", "370.80", **rules, fee=Decimal(0)),
            pair("BTC", "EUR", "280.50", "280.10", **rules, fee=Decimal(0)),
        ]
        for made in pairs:
            made.price_places = PRICE_PLACES
        return pairs

    def add_account(self, key: str, secret: str, balances: Mapping[str, Decimal] | None = None) -> Account:
        account = super().add_account(key, secret, balances)
        self.authkeys[key] = account, secret
        return account

    def identifier(self, account: Account) -> str:
        """The account's name: acct-1 is the first one."""
        return f"acct-{[*self.accounts].index(account.key) + 1}"

    def new_id(self, kind: str) -> str:
        return secrets.token_hex(32) if kind == "withdrawal" else f"{kind}/{super().new_id(kind)}"

    def new_address(self, asset: str, network: str | None = None) -> str:
        return "1Hub" + hashlib.sha256(super().new_address(asset, network).encode()).hexdigest()[:30].replace("0", "x")

    def routes(self) -> dict[tuple[str, str], Any]:
        return {
            ("GET", "/api/overview.js"): self.overview,
            ("GET", "/api/{function}"): self.function,
            ("POST", "/api/{function}"): self.function,
        }

    def overview(self, request: Request) -> Any:
        return {
            "req_url": self.req_url or f"{self.url}/api/(function_name)",
            "req_method": self.method,
            "post_body_encoding": FORM if self.encoding == "form" else JSON,
            "req_authentication_type": self.authentication,
            "supported_functions": self.functions,
            "operator": "a key that nobody knows",
        }

    def function(self, request: Request, function: str) -> Any:
        if function not in self.functions or request.method != self.method:
            raise HubError(404, "no such function")
        if function in PUBLIC:
            given = self.parameters(request)
            if self.authentication == 2 and given.pop("f", None) != function:
                raise HubError(400, "another function in f", "invalid_request")
            self.check(function, given)
            return self.ticker(given) if function == "ticker" else self.create_account()
        account, given = self.caller(request, function)
        if RIGHTS[function] not in account.permissions:
            raise HubError(403, f"this key may not {RIGHTS[function]}")
        self.check(function, given)
        return getattr(self, function.replace("-", "_"))(account, given)

    def check(self, function: str, given: Mapping[str, str]) -> None:
        wanted = PARAMETERS.get(function, set())
        optional = {"t", "lat", "lng", "random"} if function == "find-invoices" else set()
        if wrong := (given.keys() ^ wanted) - optional:
            raise HubError(400, f"missing or unknown: {', '.join(sorted(wrong))}", "invalid_request")

    def caller(self, request: Request, function: str) -> tuple[Account, dict[str, str]]:
        """The account and the function's own parameters. The signature is checked before anything is parsed."""
        account = self.signer(request) if self.authentication == 2 else None
        given = self.parameters(request)
        if missing := AUTHENTICATION[self.authentication] - given.keys():
            raise HubError(401, f"missing: {', '.join(sorted(missing))}")
        if account is None:
            account = self.known(given["name"], given["pass"])
        else:
            self.check_request(account, given, request.headers["X-Authkey-Token"], function)
        return account, {
            name: value for name, value in given.items() if name not in AUTHENTICATION[self.authentication]
        }

    def signer(self, request: Request) -> Account:
        account, key = self.authkeys.get(request.headers.get("X-Authkey-Token", ""), (None, ""))
        if account is None:
            raise HubError(401, "no such authkey")
        message = request.body if self.method == "POST" else request.query.encode()
        bytes_of_key = base64.b64decode(key) if self.key_encoding == "base64" else key.encode()
        wanted = base64.b64encode(hmac.new(bytes_of_key, message, hashlib.sha256).digest())
        if not hmac.compare_digest(wanted, request.headers.get("X-Signature", "").encode()):
            raise HubError(401, "wrong signature")
        return account

    def check_request(self, account: Account, given: Mapping[str, str], token: str, function: str) -> None:
        """The function and the account are those that were signed, the nonce is of this minute and new."""
        if given["f"] != function or given["account"] not in (self.identifier(account), token):
            raise HubError(401, "signed for another function or account")
        if not re.fullmatch(r"[0-9]{1,16}", given["nonce_ms"], re.ASCII) or len(given["nonce_random"]) < 16:
            raise HubError(401, "not a nonce")
        now = self.clock()
        if abs(now - int(given["nonce_ms"]) / 1000) > WINDOW:
            raise HubError(401, "the nonce is not of this time")
        triple = token, given["nonce_ms"], given["nonce_random"]
        account.nonces = {used: when for used, when in account.nonces.items() if now - when <= 2 * WINDOW}
        if triple in account.nonces:
            raise HubError(409, "the nonce was used before")
        account.nonces[triple] = now

    def known(self, name: str, password: str) -> Account:
        for account in self.accounts.values():
            if self.identifier(account) == name and hmac.compare_digest(account.secret.encode(), password.encode()):
                return account
        raise HubError(401, "wrong name or password")

    def parameters(self, request: Request) -> dict[str, str]:
        """One flat set of texts; the nonce alone may be a whole number in JSON."""
        if self.method == "GET":
            pairs: list[tuple[str, Any]] = parse_qsl(request.query, keep_blank_values=True)
        else:
            if request.headers.get("Content-Type") != (FORM if self.encoding == "form" else JSON):
                raise HubError(400, "another encoding than the overview says", "invalid_request")
            try:
                text = request.body.decode()
                pairs = (
                    json.loads(text, object_pairs_hook=list)
                    if self.encoding == "json"
                    else parse_qsl(text, keep_blank_values=True)
                )
                dict(pairs)
            except (TypeError, ValueError):
                raise HubError(400, "the body cannot be read", "invalid_request") from None
        given = {name: str(value) if name == "nonce_ms" and type(value) is int else value for name, value in pairs}
        if len(given) != len(pairs) or not all(isinstance(value, str) for value in given.values()):
            raise HubError(400, "every value is a text, and each name comes once", "invalid_request")
        return given

    def handle(self, request: Request) -> Reply:
        try:
            return super().handle(request)
        except HubError as error:
            document = {"error": str(error)}
            return Reply.json(document if error.code is None else {**document, "code": error.code}, error.status)

    def refused(self, request: Request, reject: Reject) -> Reply:
        status, message, code = REFUSALS[reject.code]
        return Reply.json({"error": message, "code": code}, status)

    def fault_reply(self, kind: str, request: Request) -> Reply:
        if kind == "rate_limit":
            return Reply.json({"error": "too many requests"}, 429, Retry_After="3")
        status, message = {"nonce": (409, "the nonce was used before"), "maintenance": (503, "back soon")}[kind]
        return Reply.json({"error": message}, status)

    def my_balance(self, account: Account, given: Mapping[str, str]) -> Any:
        names = account.balances
        return {
            "available": {name.lower(): _text(self.available(account, name)) for name in names},
            "pending": {name.lower(): _text(held) for name in names if (held := self.held(account, name))},
        }

    def ticker(self, given: Mapping[str, str]) -> Any:
        book = self.pairs.get(f"{given['cur_a'].upper()}/{given['cur_b'].upper()}")
        if book is None:
            raise Reject("unknown_pair")
        rest = self.resting(book)
        asks = [price for price, _ in book.asks] + [order.limit_price for order in rest if order.side == "sell"]
        bids = [price for price, _ in book.bids] + [order.limit_price for order in rest if order.side == "buy"]
        return {"bid": _text(max(bids)), "ask": _text(min(asks))}

    def place_order(self, account: Account, given: Mapping[str, str]) -> Any:
        give, get = _amount(given, "trade_amt"), _amount(given, "for_amt")
        trade_cur, for_cur = given["trade_cur"].upper(), given["for_cur"].upper()
        side = "sell" if trade_cur == "BTC" else "buy"
        amount, cost = (give, get) if side == "sell" else (get, give)
        if not amount or not cost:
            raise Reject("amount_min")
        price = (cost / amount).quantize(Decimal(1).scaleb(-PRICE_PLACES), ROUND_UP if side == "sell" else ROUND_DOWN)
        name = f"BTC/{for_cur if side == 'sell' else trade_cur}"
        order = self.place(account, name, side, amount=amount, price=price)
        order.details = {"trade_amt": give, "trade_cur": trade_cur, "for_amt": get, "for_cur": for_cur}
        return {"oid": order.id}

    def my_open_orders(self, account: Account, given: Mapping[str, str]) -> Any:
        return {"orders": [_row(order) for order in self.orders_of(account, status="open")]}

    def cancel_order(self, account: Account, given: Mapping[str, str]) -> Reply:
        self.cancel(self.order_of(account, given["oid"]))
        return Reply.text("")

    def new_btc_address(self, account: Account, given: Mapping[str, str]) -> Any:
        return {"btc_address": self.address(account, "BTC", new=True)}

    def send_btc(self, account: Account, given: Mapping[str, str]) -> Any:
        if not re.fullmatch(r"[13][1-9A-HJ-NP-Za-km-z]{25,34}", given["to_btc_address"], re.ASCII):
            raise HubError(400, "no bitcoin address", "invalid_request")
        made = self.withdraw(account, "BTC", _amount(given, "amount"), given["to_btc_address"])
        return {"txid": made.id} if self.reports_txid else {}

    def find_invoices(self, account: Account, given: Mapping[str, str]) -> Any:
        return {"invoices": [], "more_exist": False}

    def create_account(self) -> Any:
        account = self.add_account(f"token-{secrets.token_hex(8)}", secrets.token_hex(16), {})
        return {"account": self.identifier(account), "authkey": self.authkey(account.key)}

    def create_authkey(self, account: Account, given: Mapping[str, str]) -> Any:
        token = f"token-{secrets.token_hex(8)}"
        self.authkeys[token] = account, secrets.token_hex(16)
        return {"authkey": self.authkey(token)}

    def authkey(self, token: str) -> dict[str, str]:
        key = self.authkeys[token][1]
        if self.authentication == 1:
            return {"type": "password", "password": key}
        return {"type": "hmac-sha256", "token": token, "key": key}


def _text(amount: Decimal) -> str:
    """Without zeros at the end."""
    return f"{amount.normalize():f}"


def _amount(given: Mapping[str, str], name: str) -> Decimal:
    if not AMOUNT.fullmatch(given[name]):
        raise HubError(400, f"{name} is not an amount with at most eight decimals", "invalid_amount")
    return Decimal(given[name])


def _row(order: Order) -> dict[str, str]:
    terms = order.details
    if not order.fills:
        left = terms["trade_amt"]
    elif order.side == "sell":
        left = order.left
    else:
        left = (order.left * order.limit_price).quantize(Decimal("1E-8"), ROUND_DOWN)
    return {
        "oid": order.id,
        "trade_amt": _text(terms["trade_amt"]),
        "trade_cur": terms["trade_cur"],
        "for_amt": _text(terms["for_amt"]),
        "for_cur": terms["for_cur"],
        "remaining_trade_amt": _text(left),
        "created_ms": str(int(order.time * 1000)),
    }


VENUE = HubVenue
