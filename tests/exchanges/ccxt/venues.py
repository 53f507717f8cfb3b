"""Local exchanges that find an order by our client id in two ways: by one call, and in lists that are compared.

They speak as much of the protocols of Binance and of Coinbase Advanced as ccxt needs to place and to find an order, and
check no signature.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qsl

from bitmm.xwrap.testing.exchanges.venue import Reject, Reply, Venue, pair


class BinanceVenue(Venue):
    """ "New order", "Query order" and "Account information" of Binance's spot REST API."""

    name = "binance"
    default_key, default_secret = "binance-key-0123456789", "binance-secret-0123456789"

    def default_pairs(self):
        return [pair("BTC", "USDT", "30010.0", "30000.0", price_places=2)]

    def routes(self):
        return {
            ("POST", "/api/v3/order"): self.create_order,
            ("GET", "/api/v3/order"): self.query_order,
            ("GET", "/api/v3/account"): self.account_information,
        }

    def refused(self, request, reject):
        return Reply.json({"code": -2010, "msg": reject.code}, 400)

    def create_order(self, request):
        given = dict(parse_qsl(request.body.decode()))
        price = Decimal(given["price"]) if given["type"] == "LIMIT" else None
        made = self.place(
            self.account,
            "BTC/USDT",
            given["side"].lower(),
            amount=Decimal(given["quantity"]),
            price=price,
            client_id=given["newClientOrderId"],
        )
        return self.row(made)

    def query_order(self, request):
        asked = dict(parse_qsl(request.query))
        for order in self.orders.values():
            if asked.get("origClientOrderId") == order.client_id or asked.get("orderId") == order.id:
                return self.row(order)
        return Reply.json({"code": -2013, "msg": "Order does not exist."}, 400)

    def account_information(self, request):
        return {"balances": [{"asset": "BTC", "free": "10", "locked": "0"}]}

    def row(self, order):
        return {
            "symbol": "BTCUSDT",
            "orderId": int(order.id),
            "clientOrderId": order.client_id,
            "price": f"{order.price or 0:f}",
            "origQty": f"{order.amount:f}",
            "executedQty": f"{order.filled:f}",
            "cummulativeQuoteQty": f"{order.spent:f}",
            "status": {"open": "NEW", "filled": "FILLED", "canceled": "CANCELED"}[order.status],
            "type": "MARKET" if order.price is None else "LIMIT",
            "side": order.side.upper(),
            "time": int(order.time * 1000),
        }


class CoinbaseVenue(Venue):
    """ "Create Order" and "List Orders" of Coinbase Advanced Trade. An id that exists is answered with its order."""

    name = "coinbase"
    default_key, default_secret = "coinbase-key-0123456789", "coinbase-secret-0123456789"

    def default_pairs(self):
        return [pair("BTC", "USD", "30010.0", "30000.0", price_places=2)]

    def routes(self):
        base = "/api/v3/brokerage/orders"
        return {
            ("POST", base): self.create_order,
            ("GET", f"{base}/historical/batch"): self.list_orders,
            ("GET", f"{base}/historical/{{id}}"): self.get_order,
        }

    def refused(self, request, reject):
        return Reply.json({"error": reject.code, "error_details": reject.code, "message": reject.code}, 400)

    def create_order(self, request):
        given = request.json()
        made = next((order for order in self.orders.values() if order.client_id == given["client_order_id"]), None)
        if made is None:
            ((kind, terms),) = given["order_configuration"].items()
            price = Decimal(terms["limit_price"]) if kind.startswith("limit") else None
            made = self.place(
                self.account,
                "BTC/USD",
                given["side"].lower(),
                amount=Decimal(terms["base_size"]),
                price=price,
                client_id=given["client_order_id"],
            )
        row = {"order_id": made.id, "product_id": "BTC-USD", "side": given["side"], "client_order_id": made.client_id}
        return {"success": True, "success_response": row}

    def list_orders(self, request):
        asked = dict(parse_qsl(request.query))
        since = datetime.fromisoformat(asked["start_date"]).timestamp()
        rows = [self.row(order) for order in self.orders.values() if order.time >= since]
        listed = [row for row in rows if asked.get("order_status") in (None, row["status"])]
        return {"orders": listed, "has_next": False, "cursor": ""}

    def get_order(self, request, id):
        if id not in self.orders:
            raise Reject("order_not_found")
        return {"order": self.row(self.orders[id])}

    def row(self, order):
        limit = {"limit_limit_gtc": {"base_size": f"{order.amount:f}", "limit_price": f"{order.price or 0:f}"}}
        market = {"market_market_ioc": {"base_size": f"{order.amount:f}"}}
        return {
            "order_id": order.id,
            "product_id": "BTC-USD",
            "client_order_id": order.client_id,
            "side": order.side.upper(),
            "status": {"open": "OPEN", "filled": "FILLED", "canceled": "CANCELLED"}[order.status],
            "order_configuration": market if order.price is None else limit,
            "order_type": "MARKET" if order.price is None else "LIMIT",
            "created_time": datetime.fromtimestamp(order.time, UTC).isoformat().replace("+00:00", "Z"),
            "filled_size": f"{order.filled:f}",
            "filled_value": f"{order.spent:f}",
            "average_filled_price": f"{order.spent / order.filled if order.filled else 0:f}",
            "total_fees": "0",
        }
