"""What the tests of the bridge to ccxt share: the exchange of a venue, orders and sends for it, local exchanges of
two exchanges that tell less than most.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl

from bitmm.xwrap.exchanges.base import ExchangeContext
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.ccxt import exchange_class, instance
from bitmm.xwrap.exchanges.ccxt.parsing import spot_markets
from bitmm.xwrap.exchanges.models import NewOrder, NewWithdrawal, OrderRef
from bitmm.xwrap.testing.exchanges.venue import Reply, Venue, pair
from tests.support.exchanges import connect

RECORDED = Path(__file__).parents[2] / "recorded" / "paymium-response.json"
WALLET = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"


def connected(venue, transport, **context):
    """The exchange of this venue, with its keys."""
    return connect(exchange_class(f"ccxt:{venue.name}"), venue, transport, **context)


def order(side="buy", amount="0.1", price=None, currency="USDC", cost=None):
    return NewOrder(
        side,
        currency,
        "BTC",
        uuid.uuid4().hex,
        amount=None if amount is None else Decimal(amount),
        price=None if price is None else Decimal(price),
        cost=None if cost is None else Decimal(cost),
    )


def send(amount="0.1", **fields):
    return NewWithdrawal("BTC", Decimal(amount), WALLET, uuid.uuid4().hex, **fields)


def ref_of(placed, id):
    return OrderRef(
        *(placed.side, placed.currency, placed.asset, placed.client_id, id),
        created=datetime.now(UTC),
        amount=placed.amount,
        price=placed.price,
    )


def calls(venue):
    """How often each path was asked for."""
    return Counter(request.path.rpartition("/")[2] for request in venue.requests)


def listed(kind, url, **precision):
    """The exchange at `url`, with one market that is not read from it."""
    offline = kind.kind()
    info = {"orderTypes": ["LIMIT", "MARKET"], "quoteIncrement": "0.01"}
    offline.set_markets(
        [
            offline.safe_market_structure()
            | {"id": "BTCUSD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "spot": True, "type": "spot"}
            | {"precision": precision, "baseId": "BTC", "quoteId": "USD", "info": info}
        ]
    )
    listing = instance.Markets(offline, spot_markets(offline))
    cache = TTLCache()
    cache.get_or_fetch("markets", lambda: listing, seconds=3600)
    return lambda transport, keys: kind(ExchangeContext(transport, keys, 1, url=url, cache=cache))


class PaymiumVenue(Venue):
    """Recorded answers and answers as documented, with JSON numbers. Nonce and signature are checked, and the signature
    is that of the whole address ("Api-Signature"); the words of its refusals are made up, as its own are translated.
    """

    name = "paymium"
    default_key, default_secret = "paymium-key-0123456789", "paymium-secret-0123456789"
    #: How many orders a page has.
    page = 2

    def __init__(self) -> None:
        self.recorded = json.loads(RECORDED.read_text(), parse_float=Decimal)
        self.user = {}
        self.nonces = []
        super().__init__()

    def default_pairs(self):
        return [pair("BTC", "EUR", "20.4", "20.1", price_places=2, cost_min=Decimal(0))]

    def new_id(self, kind):
        return str(uuid.uuid4())

    def routes(self):
        return {
            ("GET", "/api/v1/data/eur/ticker"): lambda request: self.recorded["Example_TickerData.json"],
            ("GET", "/api/v1/data/eur/depth"): lambda request: self.recorded["Example_DepthData.json"],
            ("GET", "/api/v1/data/eur/trades"): lambda request: self.recorded["Example_TradesData.json"],
            ("GET", "/api/v1/user"): self.signed(self.funds),
            ("GET", "/api/v1/user/addresses"): self.signed(self.addresses),
            ("GET", "/api/v1/user/orders"): self.signed(self.list_orders),
            ("POST", "/api/v1/user/orders"): self.signed(self.create_order),
            ("GET", "/api/v1/user/orders/{id}"): self.signed(self.get_order),
            ("DELETE", "/api/v1/user/orders/{id}"): self.signed(self.cancel_order),
        }

    def signed(self, call):
        def checked(request, **names):
            headers, account = request.headers, self.account
            signed = (headers["Api-Nonce"] + self.url + request.target).encode() + request.body
            wanted = hmac.new(account.secret.encode(), signed, hashlib.sha256).hexdigest()
            if headers["Api-Key"] != account.key or headers["Api-Signature"] != wanted:
                return Reply.json({"errors": ["wrong signature"]}, 401)
            if int(headers["Api-Nonce"]) <= account.nonce:
                return self.fault_reply("nonce", request)
            account.nonce = int(headers["Api-Nonce"])
            self.nonces.append(account.nonce)
            return call(request, **names)

        return checked

    def fault_reply(self, kind, request):
        if kind == "nonce":
            return Reply.json({"errors": ["the nonce must rise"]}, 400)
        return super().fault_reply(kind, request)

    def refused(self, request, reject):
        if reject.code == "order_not_found":
            return Reply.json({}, 404)
        words = {"insufficient_funds": "Amount is greater than your available balance"}.get(reject.code, reject.code)
        return Reply.json({"errors": [words]}, 422)

    def funds(self, request):
        names = ("BTC", "EUR")
        balances = {f"balance_{name.lower()}": self.available(self.account, name) for name in names}
        return self.user or balances | {f"locked_{name.lower()}": self.held(self.account, name) for name in names}

    def addresses(self, request):
        return [{"address": self.address(self.account, "BTC"), "valid_until": 2000000000, "currency": "BTC"}]

    def create_order(self, request):
        given = request.json()
        price = Decimal(str(given["price"])) if given["type"] == "LimitOrder" else None
        amount = Decimal(str(given["amount"]))
        made = self.place(self.account, "BTC/EUR", given["direction"], amount=amount, price=price)
        return Reply.json(self.row(made), 201)

    def get_order(self, request, id):
        return self.row(self.order_of(self.account, id))

    def list_orders(self, request):
        """A deposit is an order, too, and stands among them."""
        asked = dict(parse_qsl(request.query))
        listed = self.orders_of(self.account, status="open" if asked.get("active") == "true" else None)
        rows = [{"uuid": "a deposit", "type": "WireDeposit", "state": "pending"}, *map(self.row, listed)]
        start = int(asked.get("offset", 0))
        return rows[start : start + self.page]

    def cancel_order(self, request, id):
        self.cancel(self.order_of(self.account, id))
        return Reply.text("")

    def row(self, order):
        """An order as the README of 2014 shows one ("Order properties")."""
        fees = sum((fill.fee for fill in order.fills), Decimal(0))
        states = {"open": "active", "filled": "filled", "canceled": "canceled"}
        return {
            "uuid": order.id,
            "amount": order.amount,
            "state": states[order.status],
            "btc_fee": Decimal(0),
            "currency_fee": fees,
            "created_at": datetime.fromtimestamp(order.time, UTC).isoformat(timespec="milliseconds")[:23] + "Z",
            "currency": "EUR",
            "type": "MarketOrder" if order.price is None else "LimitOrder",
            "traded_btc": order.filled,
            "traded_currency": order.spent,
            "direction": order.side,
            "price": order.price,
        }


class CoincheckVenue(Venue):
    """What ccxt asks of Coincheck: it lists open orders, by what is left of them, and fills; no order that is over."""

    name = "coincheck"
    default_key, default_secret = "coincheck-key-0123456789", "coincheck-secret-0123456789"
    #: The order book that it shows; what is bought costs 6000100, however much it is.
    asks = (["6000100", "0.05"], ["6000300", "0.07"])

    def default_pairs(self):
        return [pair("BTC", "JPY", "6000100", "6000000", price_places=0, cost_places=0)]

    def routes(self):
        return {
            ("GET", "/api/order_books"): lambda request: {"asks": self.asks, "bids": [["6000000", "1"]]},
            ("POST", "/api/exchange/orders"): self.create_order,
            ("GET", "/api/exchange/orders/opens"): self.list_orders,
            ("GET", "/api/exchange/orders/transactions_pagination"): self.list_fills,
            ("DELETE", "/api/exchange/orders/{id}"): self.cancel_order,
            ("GET", "/api/accounts/balance"): lambda request: {"success": True, "btc": "100", "jpy": "1000000"},
        }

    def refused(self, request, reject):
        return Reply.json({"success": False, "error": reject.code}, 400)

    def create_order(self, request):
        given = request.json() if request.body[:1] == b"{" else dict(parse_qsl(request.body.decode()))
        side = given["order_type"].removeprefix("market_")
        price = Decimal(given["rate"]) if "rate" in given else None
        field, wanted = ("market_buy_amount", "cost") if given["order_type"] == "market_buy" else ("amount", "amount")
        made = self.place(self.account, "BTC/JPY", side, **{wanted: Decimal(given[field])}, price=price)
        return {"success": True, "id": int(made.id), "order_type": given["order_type"], "pair": "btc_jpy"}

    def list_orders(self, request):
        return {"success": True, "orders": [self.row(order) for order in self.orders_of(self.account, status="open")]}

    def list_fills(self, request):
        return {"success": True, "data": [self.fill(fill) for fill in reversed(self.fills_of(self.account))]}

    def cancel_order(self, request, id):
        self.cancel(self.order_of(self.account, id))
        return {"success": True, "id": int(id)}

    def row(self, order):
        """ "Unsettled order list" of Coincheck's API."""
        return {
            "id": int(order.id),
            "order_type": order.side,
            "rate": f"{order.price:f}",
            "pair": "btc_jpy",
            "pending_amount": f"{order.left:f}",
            "pending_market_buy_amount": None,
            "stop_loss_rate": None,
            "created_at": "2026-11-27T00:00:00.000Z",
        }

    def fill(self, fill):
        """ "Transaction history (pagination)" of Coincheck's API."""
        sign = 1 if fill.order.side == "buy" else -1
        return {
            "id": int(fill.id),
            "order_id": int(fill.order.id),
            "created_at": "2026-11-27T00:00:00.000Z",
            "funds": {"btc": f"{sign * fill.amount:f}", "jpy": f"{-sign * fill.cost:f}"},
            "pair": "btc_jpy",
            "rate": f"{fill.price:f}",
            "fee_currency": "JPY",
            "fee": f"{fill.fee:f}",
            "liquidity": "T",
            "side": fill.order.side,
        }
