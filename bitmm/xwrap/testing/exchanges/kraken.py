"""A local Kraken: spot REST API of docs.kraken.com ("Spot REST Authentication", "Introduction", "Add Order", ...).

Errors come with HTTP 200 in the envelope {"error": [...], "result": ...}. Not modelled, and refused as invalid
arguments: other order types than market, limit, stop-loss and stop-loss-limit, margin, scheduled orders, fees in the
asset (`fcib`). Whether a stop is reached is told by the best price that the order would meet, not by the last trade.
What an order holds that waits for its stop is not documented; here it is what it needs at its limit or its stop.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import re
import time
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from math import ceil
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from .candles import candle_starts, candles
from .venue import ZERO, Account, Fill, Order, Pair, Reject, Reply, Request, Transfer, Venue, fits, pair, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_T = TypeVar("_T")

RECORDED = json.loads(
    (Path(__file__).parent / "recorded" / "kraken-response-more.json").read_text(), parse_float=Decimal
)


def recorded(section: str, name: str) -> Any:
    """The result of a recorded answer: of a section of "net", or of a folder of "xchange"."""
    if section in RECORDED["net"]:
        return RECORDED["net"][section][name]["body"]["result"]
    return RECORDED["xchange"][f"{section}/{name}"]["result"]


#: Key -> facts, as of the calls Assets and AssetPairs.
ASSETS: dict[str, dict[str, Any]] = {
    **recorded("marketdata", "example-assets-data"),
    **recorded("ExchangeData", "GetAssets"),
}
PAIRS: dict[str, dict[str, Any]] = dict(recorded("ExchangeData", "GetSymbols"))
#: Not recorded: the same rules as XXBTZUSD.
PAIRS["XXBTZEUR"] = PAIRS["XXBTZUSD"] | {"altname": "XBTEUR", "wsname": "XBT/EUR", "quote": "ZEUR"}
DEPTH = recorded("ExchangeData", "GetOrderBook")["XXBTZUSD"]
TICKER = recorded("ExchangeData", "GetTicker")["XXBTZUSD"]
METHODS = {
    "XXBT": recorded("Account", "GetDepositMethods"),
    "USDT": recorded("account", "example-deposit-methods-usdt"),
    "XXRP": recorded("account", "example-deposit-methods-xrp"),
}
WITHDRAW_METHODS = {
    "XXBT": recorded("Account", "GetWithdrawMethods"),
    "XXRP": [{"asset": "XXRP", "method": "Ripple XRP", "network": "Ripple", "minimum": "22"}],
}
FEES = {"XXBT": Decimal("0.0002"), "XXRP": Decimal("0.02")}

#: Rights by call ("API keys"); a call that is not here needs none.
RIGHTS = {
    **dict.fromkeys(
        ("Balance", "BalanceEx", "DepositMethods", "DepositStatus", "WithdrawStatus", "TradeVolume"), "query-funds"
    ),
    **dict.fromkeys(("OpenOrders", "QueryOrders", "OrderAmends"), "query-open-trades"),
    **dict.fromkeys(("ClosedOrders", "TradesHistory", "QueryTrades"), "query-closed-trades"),
    **dict.fromkeys(("Ledgers",), "query-ledger"),
    **dict.fromkeys(("AddOrder", "AddOrderBatch", "AmendOrder"), "modify-trades"),
    **dict.fromkeys(("CancelOrder", "CancelOrderBatch", "CancelAll", "CancelAllOrdersAfter"), "close-trades"),
    **dict.fromkeys(("DepositAddresses",), "add-funds"),
    **dict.fromkeys(("Withdraw", "WithdrawInfo", "WithdrawMethods", "WithdrawAddresses"), "withdraw-funds"),
    **dict.fromkeys(("WithdrawCancel", "AccountTransfer"), "withdraw-funds"),
}
#: What a call adds to the REST counter ("Spot REST Rate Limits"); 1 when it is not here.
COUNTS = {
    "AddOrder": 0,
    "AmendOrder": 0,
    "CancelOrder": 0,
    "TradesHistory": 2,
    "QueryTrades": 2,
    "ClosedOrders": 2,
    "Ledgers": 2,
}

WORDS = {
    "rate_limit": "EAPI:Rate limit exceeded",
    "nonce": "EAPI:Invalid nonce",
    "maintenance": "EService:Unavailable",
}
REFUSALS = {
    "insufficient_funds": "EOrder:Insufficient funds",
    "amount_min": "EOrder:Order minimum not met",
    "cost_min": "EOrder:Cost minimum not met",
    "amount_places": "EGeneral:Invalid arguments:volume",
    "price_places": "EOrder:Invalid price",
    "post_only": "EOrder:Post only order",
    "order_not_found": "EOrder:Unknown order",
    "order_not_open": "EOrder:Unknown order",
}
STATUS_WORDS = {"cancel_only": "EService:Market in cancel_only mode", "maintenance": "EService:Unavailable"}
LOCKED_OUT = "EGeneral:Temporary lockout"
NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
CL_ORD_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[ -~]{1,18}", re.ASCII | re.IGNORECASE)
TXID = re.compile(r"O[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{6}", re.ASCII)
PAGE = 50
#: Minutes that a candle may have, and how many candles are kept.
MINUTES = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
KEPT_CANDLES = 720


class KrakenError(Exception):
    """An error as Kraken writes it."""


class Movement(NamedTuple):
    """A row of the ledger, which is all that moved the balance of one asset at once."""

    id: str
    time: float
    kind: str
    reference: str
    asset: str
    amount: Decimal
    fee: Decimal
    balance: Decimal


class KrakenVenue(Venue):
    """`closing_reads`: how often QueryOrders still calls a market order open. `counter_max`: the REST counter's limit
    (None: it is off; Starter 15, Intermediate and Pro 20), `counter_decay` what it loses in a second.

    `viqc_counts_currency`: `vol_exec` of an order by cost is the currency, as Kraken's older documents say.
    `pair_status`: the status of a pair by its key, where it is not online ("cancel_only"); "delisted" takes it off the
    list. `locked_until`: private calls are locked out until then, and each one makes it 15 minutes more.
    """

    name = "kraken"
    default_key = "kQvVenueKeyForTests0123456789abcdefghijklmnopqrstuvwxyzAB"
    default_secret = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
    permissions = (
        *("query-funds", "add-funds", "withdraw-funds", "query-open-trades", "query-closed-trades"),
        *("modify-trades", "close-trades", "query-ledger", "create-ws-token"),
    )

    def __init__(self, **options: Any) -> None:
        self.closing_reads = 0
        self.counter_max: float | None = None
        self.counter_decay = 0.33
        self.nonce_window = 0
        self.transfer_status = "complete"
        self.status = "online"
        self.viqc_counts_currency = False
        self.pair_status: dict[str, str] = {}
        self.locked_until = 0.0
        self._random = random.Random()  # ids only
        self._counters: dict[str, tuple[float, float]] = {}
        self._cancel_after: dict[str, float] = {}
        super().__init__(**options)
        self.fee_tier = 0
        #: The address book of the web page: rows of WithdrawAddresses.
        self.withdraw_addresses: list[dict[str, Any]] = [
            *recorded("Account", "GetWithdrawAddresses"),
            {
                "address": "rLHzPsX3oXdzU2qP17kHCH2G4csZv1rAJh",
                "asset": "XRP",
                "method": "Ripple XRP",
                "key": "xrp-exchange",
                "verified": True,
                "tag": "1361101127",
            },
            {
                "address": "bc1q-not-confirmed-yet",
                "asset": "XBT",
                "method": "Bitcoin",
                "key": "btc-new",
                "verified": False,
            },
        ]

    def default_pairs(self) -> list[Pair]:
        usd, eth = PAIRS["XXBTZUSD"], PAIRS["XETHXXBT"]
        asks, bids = ([(Decimal(row[0]), Decimal(row[1])) for row in DEPTH[side]] for side in ("asks", "bids"))
        return [
            Pair("BTC", "USD", asks, bids, **_rules(usd, 4)),
            pair("BTC", "EUR", "27850.1", "27850.0", **_rules(PAIRS["XXBTZEUR"], 4)),
            pair("ETH", "BTC", "0.06151", "0.06149", **_rules(eth, 6)),
        ]

    def add_account(self, key: str, secret: str, balances: Mapping[str, Decimal] | None = None) -> Account:
        account = super().add_account(key, secret, balances)
        account.balances.setdefault("XRP", Decimal(1000))
        self.address(account, "BTC", network="Bitcoin")  # as if something had been deposited before
        return account

    def new_id(self, kind: str) -> str:
        letters = "".join(self._random.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=16))
        if kind in ("order", "fill", "amendment"):
            return f"{'O' if kind == 'order' else 'T'}{letters[:5]}-{letters[5:10]}-{letters[10:]}"
        return f"FT{letters[:5]}-{self._random.getrandbits(96):024x}"

    def routes(self) -> dict[tuple[str, str], Any]:
        return {("GET", "/0/public/{method}"): self.public, ("POST", "/0/private/{method}"): self.private}

    def handle(self, request: Request) -> Reply:
        self.run_timers()
        try:
            return super().handle(request)
        except KrakenError as error:
            return _error(str(error))

    def run_timers(self) -> None:
        """Cancel the orders of each account whose time is over ("Cancel All Orders After X"), and end its timer.

        Before each request, before the prices move, and for a test that looks into the books without a request.
        """
        with self.lock:
            for key in [key for key, at in self._cancel_after.items() if at <= self.clock()]:
                del self._cancel_after[key]
                self.private_CancelAll(self.accounts[key], {})

    def set_best_prices(self, pair_name: str, ask: Decimal, bid: Decimal) -> None:
        self.run_timers()
        super().set_best_prices(pair_name, ask, bid)

    def refused(self, request: Request, reject: Reject) -> Reply:
        return _error(REFUSALS[reject.code])

    def fault_reply(self, kind: str, request: Request) -> Reply:
        return _error(WORDS[kind])

    def not_found(self, request: Request) -> Reply:
        return _error("EGeneral:Unknown method")

    def public(self, request: Request, method: str) -> Reply:
        if (call := getattr(self, f"public_{method}", None)) is None:
            raise KrakenError("EGeneral:Unknown method")
        return _result(call(request.args))

    def private(self, request: Request, method: str) -> Reply:
        given = _parameters(request)
        if self.clock() < self.locked_until:
            self.locked_until = self.clock() + 900
            raise KrakenError(LOCKED_OUT)
        account = self.accounts.get(request.headers.get("API-Key", ""))
        if account is None:
            raise KrakenError("EAPI:Invalid key")
        nonce = str(given.pop("nonce", ""))
        inner = hashlib.sha256(nonce.encode() + request.body).digest()
        mac = hmac.new(base64.b64decode(account.secret), request.path.encode() + inner, hashlib.sha512).digest()
        if not hmac.compare_digest(base64.b64encode(mac).decode(), request.headers.get("API-Sign", "")):
            raise KrakenError("EAPI:Invalid signature")
        self._check_nonce(account, nonce)
        self._count(account, method)
        if (call := getattr(self, f"private_{method}", None)) is None:
            raise KrakenError("EGeneral:Unknown method")
        if RIGHTS.get(method) not in (None, *account.permissions):
            raise KrakenError("EGeneral:Permission denied")
        return _result(call(account, given))

    def _check_nonce(self, account: Account, nonce: str) -> None:
        """Strictly rising within an unsigned 64-bit integer, or new within the key's window."""
        if not nonce.isascii() or not nonce.isdigit() or int(nonce) >= 2**64:
            raise KrakenError("EAPI:Invalid nonce")
        number = int(nonce)
        if number <= account.nonce - self.nonce_window or number == account.nonce or number in account.nonces:
            raise KrakenError("EAPI:Invalid nonce")
        account.nonce = max(account.nonce, number)
        if self.nonce_window:
            account.nonces[number] = self.clock()

    def _count(self, account: Account, method: str) -> None:
        if self.counter_max is None:
            return
        count, when = self._counters.get(account.key, (0.0, self.clock()))
        count = max(0.0, count - (self.clock() - when) * self.counter_decay) + COUNTS.get(method, 1)
        self._counters[account.key] = count, self.clock()
        if count > self.counter_max:
            raise KrakenError("EAPI:Rate limit exceeded")

    def _asset(self, given: Mapping[str, Any], name: str = "asset") -> str:
        """The key of the asset that is named by key or altname."""
        for key, record in ASSETS.items():
            if given.get(name) in (key, record["altname"]):
                return key
        raise KrakenError("EQuery:Unknown asset")

    def _pair(self, name: object) -> str:
        """The key of the listed pair that is named by key or altname."""
        for key, record in self._listed().items():
            if name in (key, record["altname"]):
                return key
        raise KrakenError("EQuery:Unknown asset pair")

    def _listed(self) -> dict[str, dict[str, Any]]:
        """The pairs that AssetPairs lists, with their status."""
        rows = {key: record | {"status": self.pair_status.get(key, "online")} for key, record in PAIRS.items()}
        return {key: record for key, record in rows.items() if record["status"] != "delisted"}

    def public_Time(self, given: Mapping[str, str]) -> Any:
        now = int(self.clock())
        return {"unixtime": now, "rfc1123": time.strftime("%a, %d %b %y %H:%M:%S +0000", time.gmtime(now))}

    def public_SystemStatus(self, given: Mapping[str, str]) -> Any:
        return {"status": self.status, "timestamp": _iso(self.clock())}

    def public_Assets(self, given: Mapping[str, str]) -> Any:
        asked = [self._asset({"asset": name}) for name in _names(given.get("asset"))]
        return {key: ASSETS[key] for key in asked or ASSETS}

    def public_AssetPairs(self, given: Mapping[str, str]) -> Any:
        asked = [self._pair(name) for name in _names(given.get("pair"))]
        listed = self._listed()
        return {key: listed[key] for key in asked or listed}

    def public_Ticker(self, given: Mapping[str, str]) -> Any:
        asked = [self._pair(name) for name in _names(given.get("pair"))]
        return {key: self._ticker(key) for key in asked or self._listed()}

    def _ticker(self, key: str) -> dict[str, Any]:
        """Best prices of the book; volumes and the day's figures as they were recorded."""
        book = self.pairs[_common(key)]
        best = {side: [places(row[0][0], 5), f"{row[0][1]:.0f}", f"{row[0][1]:.3f}"] for side, row in _sides(book)}
        return {"a": best["asks"], "b": best["bids"], **{name: TICKER[name] for name in "cvptlho"}}

    def public_Depth(self, given: Mapping[str, str]) -> Any:
        key, now = self._pair(given.get("pair")), int(self.clock())
        count = _whole_number(given, "count", 100, most=500)
        return {
            key: {
                side: [[places(price, 5), f"{amount:.3f}", now] for price, amount in rows[:count]]
                for side, rows in _sides(self.pairs[_common(key)])
            }
        }

    def public_OHLC(self, given: Mapping[str, str]) -> Any:
        """The last 720 candles, those after `since` alone; the current one always ("Get OHLC Data")."""
        key, now = self._pair(given.get("pair")), int(self.clock())
        minutes = _whole_number(given, "interval", 1)
        if minutes not in MINUTES:
            raise _invalid("interval")
        since = _whole_number(given, "since", 0, least=0)
        step = minutes * 60
        found = candles(self.pairs[_common(key)], candle_starts(step, now - step * KEPT_CANDLES + 1, now))
        rows = [
            [
                candle.start,
                *(f"{price:f}" for price in (candle.open, candle.high, candle.low, candle.close, candle.open)),
                places(candle.volume, 8),
                1,
            ]
            for candle in found
            if candle.start > since or candle is found[-1]
        ]
        return {key: rows, "last": found[-1].start - step}

    def public_Trades(self, given: Mapping[str, str]) -> Any:
        key, count = self._pair(given.get("pair")), _whole_number(given, "count", 1000, most=1000)
        fills = [fill for order in self.orders.values() if order.pair.name == _common(key) for fill in order.fills]
        rows = [
            [
                places(fill.price, 5),
                places(fill.amount, 8),
                fill.time,
                fill.order.side[0],
                "m" if fill.order.price is None else "l",
                "",
                number,
            ]
            for number, fill in enumerate(sorted(fills, key=lambda fill: fill.time), start=1)
        ]
        return {key: rows[-count:], "last": str(int(self.clock() * 10**9))}

    def private_Balance(self, account: Account, given: Mapping[str, Any]) -> Any:
        return {_asset_key(name): places(amount, _decimals(name)) for name, amount in account.balances.items()}

    def private_BalanceEx(self, account: Account, given: Mapping[str, Any]) -> Any:
        return {
            _asset_key(name): {
                "balance": places(amount, _decimals(name)),
                "hold_trade": places(self.held(account, name), _decimals(name)),
            }
            for name, amount in account.balances.items()
        }

    def private_GetApiKeyInfo(self, account: Account, given: Mapping[str, Any]) -> Any:
        return recorded("Account", "GetApiKeyInfo") | {
            "api_key": account.key,
            "nonce": str(account.nonce),
            "nonce_window": str(self.nonce_window),
            "permissions": sorted(account.permissions),
            "iban": _iban(account),
        }

    def private_TradeVolume(self, account: Account, given: Mapping[str, Any]) -> Any:
        """The volume, and the fees of the pairs asked for: of `fee_tier` in their schedules; the first is charged."""
        rows: dict[str, dict[str, Any]] = {"fees": {}, "fees_maker": {}}
        for key in [self._pair(name) for name in _names(given.get("pair"))]:
            for name, fees in rows.items():
                row = {"minfee": "0.0000", "maxfee": "0.4000", "nextfee": None, "nextvolume": None}
                percent = places(Decimal(str(PAIRS[key][name][self.fee_tier][1])), 4)
                fees[key] = {"fee": percent, **row, "tiervolume": "50000.0000"}
        return {"currency": "ZUSD", "volume": "61000.0000"} | rows

    def private_AddOrder(self, account: Account, given: Mapping[str, Any]) -> Any:
        key = self._pair(given.get("pair"))
        side, kind = given.get("type"), given.get("ordertype")
        if side not in ("buy", "sell"):
            raise _invalid("type")
        if kind not in ("market", "limit", "stop-loss", "stop-loss-limit"):
            raise _invalid("ordertype")
        is_market, is_stop = kind in ("market", "stop-loss"), kind.startswith("stop-loss")
        flags = set(_names(given.get("oflags")))
        if flags - {"post", "fciq", "viqc", "nompp"} or ("post" in flags and kind != "limit"):
            raise _invalid("oflags")
        if "viqc" in flags and (side, kind) != ("buy", "market"):
            raise _invalid("viqc")
        for name, allowed in {"leverage": ("none",), "starttm": ("0",)}.items():
            if str(given.get(name, allowed[0])) not in allowed:
                raise _invalid(name)
        force, expires = given.get("timeinforce", "GTC"), given.get("expiretm", "0")
        if force not in ("GTC", "IOC", "GTD") or (force != "GTC" and is_market):
            raise _invalid("timeinforce")
        if not re.fullmatch(r"0|[0-9]{10}", str(expires)) or (force == "GTD") != (str(expires) != "0"):
            raise _invalid("expiretm")
        if force == "GTD" and int(expires) <= self.clock():
            raise _invalid("expiretm")
        if "post" in flags and force == "IOC":
            raise _invalid("oflags")
        volume, stop, price = _parse_decimal(given, "volume"), None, None
        if is_stop:
            stop = _parse_decimal(given, "price")
        if not is_market:
            price = _parse_decimal(given, "price2" if is_stop else "price")
        if "price" in given and kind == "market":
            raise _invalid("price")
        if "price2" in given and kind != "stop-loss-limit":
            raise _invalid("price2")
        if given.get("trigger", "last") != "last" or ("trigger" in given and not is_stop):
            raise _invalid("trigger")
        record = PAIRS[key]
        for each in (price, stop):
            if each is not None and not fits(each, record["pair_decimals"]):
                raise _too_fine(record)
        client_id, userref = self._references(account, given)
        description = f"{side} {places(volume, 8)} {record['altname']} @ {_order_terms(record, price, stop)}"
        for status in (self.status, self.pair_status.get(key)):
            if status in STATUS_WORDS:
                raise KrakenError(STATUS_WORDS[status])
        if _true(given.get("validate")):
            return {"descr": {"order": description}}
        order = self.place(
            account,
            _common(key),
            side,
            amount=None if "viqc" in flags else volume,
            cost=volume if "viqc" in flags else None,
            price=price,
            client_id=client_id,
            post_only="post" in flags,
            immediate=force == "IOC",
            expires=int(expires) if force == "GTD" else None,
            stop=stop,
        )
        order.details = {
            "key": key,
            "userref": userref,
            "oflags": ",".join(sorted(flags | {"fciq"})),
            "description": description,
            "volume": volume,
            "kind": kind,
            "stop": stop,
            "reads": self.closing_reads if price is None else 0,
        }
        return {"descr": {"order": description}, "txid": [order.id]}

    def private_AddOrderBatch(self, account: Account, given: Mapping[str, Any]) -> Any:
        """2 to 15 orders of one pair ("Add Order Batch"): one that is not valid refuses all, funds refuse one alone."""
        if "close-trades" not in account.permissions:
            raise KrakenError("EGeneral:Permission denied")
        orders = given.get("orders")
        if not isinstance(orders, list) or not 2 <= len(orders) <= 15:
            raise _invalid("orders")
        if not all(isinstance(order, dict) and "pair" not in order for order in orders):
            raise _invalid("orders")
        orders = [{**order, "pair": given.get("pair")} for order in orders]
        checked = [self.private_AddOrder(account, {**order, "validate": "true"}) for order in orders]
        return {"orders": checked if _true(given.get("validate")) else [self._added(account, one) for one in orders]}

    def _added(self, account: Account, order: Mapping[str, Any]) -> dict[str, Any]:
        try:
            added = self.private_AddOrder(account, order)
        except KrakenError as error:
            return {"error": str(error)}
        except Reject as reject:
            return {"error": REFUSALS[reject.code]}
        return {**added, "txid": added["txid"][0]}

    def _references(self, account: Account, given: Mapping[str, Any]) -> tuple[str | None, int | None]:
        """cl_ord_id (unique among the open orders) or userref, never both."""
        client_id, userref = given.get("cl_ord_id"), given.get("userref")
        if client_id is not None:
            taken = any(order.client_id == client_id for order in self.orders_of(account, status="open"))
            if userref is not None or taken or not CL_ORD_ID.fullmatch(client_id):
                raise _invalid("cl_ord_id")
        if userref is not None and not -(2**31) <= int(userref) < 2**31:
            raise _invalid("userref")
        return client_id, None if userref is None else int(userref)

    def _view(self, order: Order, *, trades: bool = False) -> dict[str, Any]:
        record = PAIRS[order.details["key"]]
        status_name = {"open": "open", "filled": "closed", "canceled": "canceled"}[order.status]
        if order.is_expired:
            status_name = "expired"
        hidden = order.details["reads"] > 0
        filled, spent, fee = (ZERO, ZERO, ZERO) if hidden else (order.filled, order.spent, order.fee)
        average = spent / filled if filled else ZERO
        prices = [one for one in (order.details["stop"], order.price) if one is not None]
        price, price2 = (*(places(one, record["pair_decimals"]) for one in prices), "0", "0")[:2]
        executed = spent if self.viqc_counts_currency and "viqc" in order.details["oflags"] else filled
        view = {
            "refid": None,
            "userref": order.details["userref"],
            "status": "open" if hidden else status_name,
            "reason": "User requested" if order.details.get("canceled") else None,
            "opentm": order.time,
            "starttm": 0,
            "expiretm": order.expires or 0,
            "descr": {
                "pair": record["altname"],
                "type": order.side,
                "ordertype": order.details["kind"],
                "price": price,
                "price2": price2,
                "leverage": "none",
                "order": order.details["description"],
                "close": "",
            },
            "vol": places(order.details["volume"], 8),
            "vol_exec": places(executed, 8),
            "cost": places(spent, record["cost_decimals"]),
            "fee": places(fee, record["cost_decimals"]),
            "price": places(average, record["cost_decimals"]),
            "stopprice": "0.00000",
            "limitprice": "0.00000",
            "misc": "",
            "oflags": order.details["oflags"],
        }
        if order.client_id is not None:
            view["cl_ord_id"] = order.client_id
        if order.closed is not None and not hidden:
            view["closetm"] = order.closed
        if trades and order.fills and not hidden:
            view["trades"] = [fill.id for fill in order.fills]
        return view

    def _selected(self, account: Account, given: Mapping[str, Any], status: str) -> list[Order]:
        """The account's orders, newest first, that carry the asked userref or cl_ord_id."""

        def is_asked_for(order: Order) -> bool:
            still_open = order.status == "open" or order.details["reads"] > 0
            return (
                still_open == (status == "open")
                and given.get("cl_ord_id", order.client_id) == order.client_id
                and str(given.get("userref", order.details["userref"])) == str(order.details["userref"])
            )

        return [order for order in reversed(self.orders_of(account)) if is_asked_for(order)]

    def _views(self, orders: Iterable[Order], given: Mapping[str, Any]) -> dict[str, Any]:
        return {order.id: self._view(order, trades=_true(given.get("trades"))) for order in orders}

    def private_OpenOrders(self, account: Account, given: Mapping[str, Any]) -> Any:
        return {"open": self._views(self._selected(account, given, "open"), given)}

    def private_ClosedOrders(self, account: Account, given: Mapping[str, Any]) -> Any:
        """`start` and `end` are times or ids of orders, which stand for the time when they were opened."""
        fields = {"open": ("time",), "close": ("closed",), "both": ("time", "closed")}.get(
            given.get("closetime", "both")
        )
        if fields is None:
            raise _invalid("closetime")
        bounds = {
            name: self._order(account, given[name]).time if TXID.fullmatch(str(given[name])) else given[name]
            for name in ("start", "end")
            if name in given
        }
        first, last = _times(bounds)
        orders = [
            order
            for order in self._selected(account, given, "closed")
            if any(first < getattr(order, field) <= last for field in fields)
        ]
        orders.sort(key=attrgetter(fields[-1]), reverse=True)
        return {"closed": self._views(_page(orders, given), given), "count": len(orders)}

    def private_QueryOrders(self, account: Account, given: Mapping[str, Any]) -> Any:
        ids = _names(given.get("txid"))
        if not 0 < len(ids) <= PAGE:
            raise _invalid("txid")
        views = {}
        for txid in ids:
            order = self._order(account, txid)
            views[txid] = self._view(order, trades=_true(given.get("trades")))
            order.details["reads"] -= 1
        return views

    def _order(self, account: Account, id: object) -> Order:
        if not TXID.fullmatch(str(id)):
            raise KrakenError("EOrder:Invalid order")
        return self.order_of(account, str(id))

    def _listed_fills(self, account: Account) -> dict[str, tuple[int, Fill]]:
        """The fills of the account that are shown, newest first, with their numbers, by their ids."""
        numbered = reversed(list(enumerate(self.fills_of(account), start=1)))
        return {fill.id: (number, fill) for number, fill in numbered if fill.order.details["reads"] <= 0}

    def _trades(self, account: Account) -> dict[str, Any]:
        """The trades of the account, newest first."""
        return {id: _trade_row(number, fill) for id, (number, fill) in self._listed_fills(account).items()}

    def private_TradesHistory(self, account: Account, given: Mapping[str, Any]) -> Any:
        first, last = _times(given)
        fills = {id: row for id, row in self._listed_fills(account).items() if first < row[1].time <= last}
        return {"trades": {id: _trade_row(*row) for id, row in _page(fills.items(), given)}, "count": len(fills)}

    def private_QueryTrades(self, account: Account, given: Mapping[str, Any]) -> Any:
        trades, ids = self._trades(account), _names(given.get("txid"))
        if not 0 < len(ids) <= 20 or not all(id in trades for id in ids):
            raise _invalid("txid")
        return {id: trades[id] for id in ids}

    def private_Ledgers(self, account: Account, given: Mapping[str, Any]) -> Any:
        if given.keys() - {"asset", "type", "start", "end", "ofs"}:
            raise _invalid("ledger")
        asked, first_and_last = self._asset(given) if "asset" in given else None, _times(given)
        wanted = {
            movement.id: movement
            for movement in reversed(self.movements(account))
            if asked in (None, _asset_key(movement.asset))
            and given.get("type", "all") in ("all", movement.kind)
            and first_and_last[0] < movement.time <= first_and_last[1]
        }
        return {"ledger": {id: _ledger_row(one) for id, one in _page(wanted.items(), given)}, "count": len(wanted)}

    def movements(self, account: Account) -> list[Movement]:
        """All that moved the money of the account, oldest first."""
        moved: list[tuple[float, str, str, str, Decimal, Decimal]] = []
        for fill in self.fills_of(account):
            sign, pair = (1 if fill.order.side == "buy" else -1), fill.order.pair
            for asset, amount in ((pair.asset, sign * fill.amount), (pair.currency, -sign * fill.cost)):
                fee = fill.fee if asset == fill.fee_currency else ZERO
                moved.append((fill.time, "trade", fill.id, asset, amount, fee))
        moved += [
            (made.time, "deposit", made.id, made.asset, made.amount, ZERO)
            for made in self.deposits.values()
            if made.account is account
        ]
        for made in self.withdrawals.values():
            if made.account is account:
                moved.append((made.time, "withdrawal", made.id, made.asset, made.fee - made.amount, made.fee))
                if made.status == "canceled":
                    taken_back = (made.amount - made.fee, -made.fee)
                    moved.append((made.details["canceled"], "withdrawal", made.id, made.asset, *taken_back))
        moved += [
            (moment, "transfer", id, asset, amount, ZERO) for id, moment, asset, amount in self.transfers_of(account)
        ]
        moved.sort(key=lambda row: row[0])
        balances: dict[str, Decimal] = {}
        movements = []
        for number, row in enumerate(moved):
            asset, amount, fee = row[3:]
            balances[asset] = balances.get(asset, ZERO) + amount - fee
            movements.append(Movement(f"L{number:05}-{number % 7}AAAA-BBBBBB", *row, balances[asset]))
        return movements

    def private_AmendOrder(self, account: Account, given: Mapping[str, Any]) -> Any:
        """ "Amend Order", without what is about iceberg and trigger orders."""
        if set(given) - {"nonce", "txid", "cl_ord_id", "order_qty", "limit_price", "post_only", "deadline"}:
            raise _invalid("AmendOrder")
        if ("txid" in given) == ("cl_ord_id" in given):
            raise _invalid("txid")
        if "txid" in given:
            order = self._order(account, given["txid"])
        else:
            chosen = [one for one in self.orders_of(account) if one.client_id == given["cl_ord_id"]]
            if not chosen:
                raise Reject("order_not_found")
            order = chosen[-1]
        if order.price is None or order.amount is None or not {"order_qty", "limit_price"} & set(given):
            raise _invalid("limit_price")
        amount = _parse_decimal(given, "order_qty") if "order_qty" in given else order.amount
        price = _parse_decimal(given, "limit_price") if "limit_price" in given else order.price
        self.amend(order, amount, price, post_only=_true(given.get("post_only")))
        order.details["volume"] = amount
        id = self.new_id("amendment")
        order.details.setdefault("amends", []).append(
            {
                "amend_id": id,
                "amend_type": "user",
                "order_qty": f"{amount:.8f}",
                "remaining_qty": f"{order.left:.8f}",
                "limit_price": f"{price:f}",
                "timestamp": int(self.clock() * 10**9),
            }
        )
        return {"amend_id": id}

    def private_OrderAmends(self, account: Account, given: Mapping[str, Any]) -> Any:
        """ "Get Order Amends": the first row is the order as it was placed."""
        order = self._order(account, given.get("order_id"))
        amends = order.details.get("amends", [])
        first = {"amend_id": "T00000-00000-000000", "amend_type": "original", "timestamp": int(order.time * 10**9)}
        return {"amends": [first, *amends], "count": 1 + len(amends)}

    def private_CancelOrder(self, account: Account, given: Mapping[str, Any]) -> Any:
        named, client_id = given.get("txid"), given.get("cl_ord_id")
        orders = self.orders_of(account, status="open")
        if client_id is not None:
            chosen = [order for order in orders if order.client_id == client_id]
        elif re.fullmatch(r"-?\d+", str(named)):
            chosen = [order for order in orders if order.details["userref"] == int(str(named))]
        else:
            chosen = [self._order(account, named)]
        if not chosen:
            raise Reject("order_not_found")
        return {"count": self._cancel(chosen)}

    def _cancel(self, orders: Iterable[Order]) -> int:
        count = 0
        for order in orders:
            self.cancel(order)
            order.details["canceled"] = True
            count += 1
        return count

    def private_CancelOrderBatch(self, account: Account, given: Mapping[str, Any]) -> Any:
        rows = given.get("orders")
        if not isinstance(rows, list) or not 0 < len(rows) <= PAGE:
            raise _invalid("orders")
        return {"count": self._cancel([self._order(account, row) for row in rows])}

    def private_CancelAll(self, account: Account, given: Mapping[str, Any]) -> Any:
        return {"count": self._cancel(self.orders_of(account, status="open"))}

    def private_CancelAllOrdersAfter(self, account: Account, given: Mapping[str, Any]) -> Any:
        """Times are shown in whole seconds, rounded up; the longest timer is a day."""
        seconds = _parse_decimal(given, "timeout")
        if seconds != int(seconds) or seconds > 86400:
            raise _invalid("timeout")
        now = self.clock()
        self._cancel_after.pop(account.key, None)
        if seconds:
            self._cancel_after[account.key] = now + float(seconds)
        return {"currentTime": _iso(ceil(now)), "triggerTime": _iso(ceil(now + float(seconds))) if seconds else "0"}

    def private_DepositMethods(self, account: Account, given: Mapping[str, Any]) -> Any:
        key = self._asset(given)
        if key.startswith("Z"):
            raise KrakenError("EFunding:No funding method")
        name = ASSETS[key]["altname"]
        return METHODS.get(key) or [{"method": name, "limit": False, "gen-address": True, "minimum": "1"}]

    def private_DepositAddresses(self, account: Account, given: Mapping[str, Any]) -> Any:
        key, method = self._asset(given), given.get("method")
        if method not in [row["method"] for row in self.private_DepositMethods(account, given)]:
            raise KrakenError("EFunding:No funding method")
        made = account.addresses.setdefault(str(method), [])
        if _true(given.get("new")):
            if len(made) >= 5:
                raise KrakenError("EFunding:Too many addresses")
            self.address(account, _name(key), network=str(method), new=True)
        rows = []
        for number, address in enumerate(made):
            row = {"address": address, "expiretm": "0", "new": True}
            rows.append(row | {"tag": str(1361101127 + number)} if key == "XXRP" else row)
        return rows

    def private_DepositStatus(self, account: Account, given: Mapping[str, Any]) -> Any:
        asked = self._asset(given) if "asset" in given else None
        came = [
            transfer
            for transfer in reversed(self.deposits.values())
            if transfer.account is account and asked in (None, _asset_key(transfer.asset))
        ]
        if "cursor" not in given:
            return [_deposit_row(transfer) for transfer in came]
        limit, last = _whole_number(given, "limit", 25), str(given["cursor"])
        ids = [transfer.id for transfer in came]
        # A cursor names the last row of the page before.
        if last != "true" and last not in ids:
            raise _invalid("cursor")
        start = 0 if last == "true" else ids.index(last) + 1
        page = [_deposit_row(transfer) for transfer in came[start : start + limit]]
        return {"deposit": page, "next_cursor": page[-1]["refid"] if start + limit < len(came) else None}

    def private_WithdrawMethods(self, account: Account, given: Mapping[str, Any]) -> Any:
        asked = self._asset(given) if "asset" in given else None
        return [row for key, rows in WITHDRAW_METHODS.items() if asked in (None, key) for row in rows]

    def private_WithdrawAddresses(self, account: Account, given: Mapping[str, Any]) -> Any:
        rows = self.withdraw_addresses
        if "asset" in given:
            altname = ASSETS[self._asset(given)]["altname"]
            rows = [row for row in rows if row["asset"] == altname]
        for name in ("method", "key"):
            rows = [row for row in rows if row[name] == given.get(name, row[name])]
        if "verified" in given:
            rows = [row for row in rows if row["verified"] == _true(given["verified"])]
        return rows

    def _withdrawal(self, given: Mapping[str, Any]) -> tuple[str, dict[str, Any], Decimal, Decimal]:
        """Asset key, row of the address book, amount and fee of a withdrawal."""
        key = self._asset(given)
        rows = [row for row in self.withdraw_addresses if row["key"] == given.get("key") and row["verified"]]
        if not rows or rows[0]["asset"] != ASSETS[key]["altname"]:
            raise KrakenError("EFunding:Unknown withdraw key")
        amount, fee = _parse_decimal(given, "amount"), FEES.get(key, ZERO)
        minimums = [Decimal(row["minimum"]) for row in WITHDRAW_METHODS[key] if row["method"] == rows[0]["method"]]
        if amount < max([*minimums, fee]) or not fits(amount, ASSETS[key]["decimals"]):
            raise KrakenError("EFunding:Invalid amount")
        return key, rows[0], amount, fee

    def private_WithdrawInfo(self, account: Account, given: Mapping[str, Any]) -> Any:
        key, row, amount, fee = self._withdrawal(given)
        limit = places(self.available(account, _name(key)), 8)
        return {"method": row["method"], "limit": limit, "amount": places(amount - fee, 8), "fee": places(fee, 8)}

    def private_Withdraw(self, account: Account, given: Mapping[str, Any]) -> Any:
        key, row, amount, fee = self._withdrawal(given)
        if given.get("address", row["address"]) != row["address"]:
            raise _invalid("address")
        if "max_fee" in given and fee > _parse_decimal(given, "max_fee"):
            raise KrakenError("EFunding:Max fee exceeded")
        if amount > self.available(account, _name(key)):
            raise KrakenError("EFunding:Invalid amount")
        made = self.withdraw(
            account, _name(key), amount, row["address"], fee=fee, tag=row.get("tag"), network=row["method"]
        )
        made.details["key"] = row["key"]
        return {"refid": made.id}

    def private_WithdrawStatus(self, account: Account, given: Mapping[str, Any]) -> Any:
        asked = self._asset(given) if "asset" in given else None
        return [
            self._withdrawal_row(transfer)
            for transfer in reversed(self.withdrawals.values())
            if transfer.account is account and asked in (None, _asset_key(transfer.asset))
        ]

    def _withdrawal_row(self, transfer: Transfer) -> dict[str, Any]:
        row = {
            "method": transfer.network,
            "network": transfer.network,
            "aclass": "currency",
            "asset": _asset_key(transfer.asset),
            "refid": transfer.id,
            "txid": transfer.txid,
            "info": transfer.address,
            "amount": places(transfer.amount - transfer.fee, 8),
            "fee": places(transfer.fee, 8),
            "time": int(transfer.time),
            "status": {"pending": "Initial", "done": "Success", "canceled": "Failure"}[transfer.status],
            "key": transfer.details["key"],
        }
        return row | {"status-prop": "canceled"} if transfer.status == "canceled" else row

    def private_WithdrawCancel(self, account: Account, given: Mapping[str, Any]) -> Any:
        transfer = self.withdrawals.get(str(given.get("refid")))
        if transfer is None or transfer.account is not account or transfer.status != "pending":
            raise KrakenError("EFunding:Unknown reference id")
        transfer.status = "canceled"
        transfer.details["canceled"] = self.clock()
        account.balances[transfer.asset] += transfer.amount
        return True

    def private_AccountTransfer(self, account: Account, given: Mapping[str, Any]) -> Any:
        """Move between accounts, by their IIBANs, for a key of the main account: the venue's first one."""
        if account is not self.account:
            raise KrakenError("EGeneral:Permission denied")
        key, amount = self._asset(given), _parse_decimal(given, "amount")
        accounts = {_iban(one): one for one in self.accounts.values()}
        for name in ("from", "to"):
            if given.get(name) not in accounts:
                raise _invalid(name)
        if given["from"] == given["to"]:
            raise _invalid("to")
        giving = accounts[given["from"]]
        if amount > self.available(giving, _name(key)) or not fits(amount, ASSETS[key]["decimals"]):
            raise KrakenError("EFunding:Invalid amount")
        id = self.transfer(giving, accounts[given["to"]], _name(key), amount)
        return {"transfer_id": id, "status": self.transfer_status}


_NAMES = {"XBT": "BTC", "XDG": "DOGE"}


def _name(key: str) -> str:
    """The common name of an asset's key."""
    altname: str = ASSETS[key]["altname"]
    return _NAMES.get(altname, altname)


_KEYS = {_name(key): key for key in ASSETS}


def _asset_key(name: str) -> str:
    return _KEYS[name]


def _decimals(name: str) -> int:
    decimals: int = ASSETS[_KEYS[name]]["decimals"]
    return decimals


def _common(key: str) -> str:
    """The core's name of the pair with this key."""
    return f"{_name(PAIRS[key]['base'])}/{_name(PAIRS[key]['quote'])}"


def _order_terms(record: Mapping[str, Any], price: Decimal | None, stop: Decimal | None) -> str:
    """Return how the description of an order ends: "market", "limit 1.0", "stop loss 2.0 -> limit 1.0"."""
    digits = record["pair_decimals"]
    limit = None if price is None else f"limit {places(price, digits)}"
    if stop is None:
        return limit or "market"
    return f"stop loss {places(stop, digits)}" + ("" if limit is None else f" -> {limit}")


def _rules(record: Mapping[str, Any], cost_places: int) -> dict[str, Any]:
    """`cost_places`: money is booked with as many decimals as both the quote asset and the pair's costs have."""
    return {
        "price_places": record["pair_decimals"],
        "amount_places": record["lot_decimals"],
        "cost_places": cost_places,
        "amount_min": Decimal(record["ordermin"]),
        "cost_min": Decimal(record["costmin"]),
    }


def _sides(book: Pair) -> list[tuple[str, list[tuple[Decimal, Decimal]]]]:
    return [("asks", book.asks), ("bids", book.bids)]


def _parameters(request: Request) -> dict[str, Any]:
    """The parameters of a form or JSON body; a name that comes twice is an invalid argument."""
    if request.headers.get("Content-Type", "").startswith("application/json"):
        try:
            given = request.json()
        except ValueError:
            raise KrakenError("EAPI:Bad request") from None
        if not isinstance(given, dict):
            raise KrakenError("EAPI:Bad request")
        return given
    pairs = parse_qsl(request.body.decode(), keep_blank_values=True)
    for name, _ in pairs:
        if [other for other, _ in pairs].count(name) > 1:
            raise _invalid(name)
    return dict(pairs)


def _names(value: object) -> list[str]:
    return [name for name in str(value or "").split(",") if name]


def _true(value: object) -> bool:
    """A boolean in any case, as clients send it; the text "False" is false."""
    return str(value).lower() in ("true", "1")


def _parse_decimal(given: Mapping[str, Any], name: str) -> Decimal:
    text = str(given.get(name, ""))
    if not NUMBER.fullmatch(text) or len(text) > 40:
        raise _invalid(name)
    return Decimal(text)


def _whole_number(given: Mapping[str, Any], name: str, default: int, *, least: int = 1, most: int = 10**12) -> int:
    text = str(given.get(name, default))
    if not re.fullmatch(r"[0-9]{1,13}", text) or not least <= int(text) <= most:
        raise _invalid(name)
    return int(text)


def _times(given: Mapping[str, Any]) -> tuple[float, float]:
    return float(given.get("start", 0)), float(given.get("end", "inf"))


def _trade_row(number: int, fill: Fill) -> dict[str, Any]:
    return {
        "ordertxid": fill.order.id,
        "postxid": "TKH2SE-M7IF5-CFI7LT",
        "pair": fill.order.details["key"],
        "time": fill.time,
        "type": fill.order.side,
        "ordertype": "market" if fill.order.price is None else "limit",
        "price": places(fill.price, 5),
        "cost": places(fill.cost, 5),
        "fee": places(fill.fee, 5),
        "vol": places(fill.amount, 8),
        "margin": "0.00000",
        "misc": "",
        "trade_id": number,
        "maker": fill.maker,
    }


def _deposit_row(transfer: Transfer) -> dict[str, Any]:
    return {
        "method": transfer.network,
        "aclass": "currency",
        "asset": _asset_key(transfer.asset),
        "refid": transfer.id,
        "txid": transfer.txid,
        "info": transfer.address,
        "amount": places(transfer.amount, 8),
        "fee": places(transfer.fee, _decimals(transfer.asset)),
        "time": int(transfer.time),
        "status": {"done": "Success", "pending": "Pending"}[transfer.status],
    }


def _ledger_row(movement: Movement) -> dict[str, Any]:
    return {
        "refid": movement.reference,
        "time": movement.time,
        "type": movement.kind,
        "subtype": "",
        "aclass": "currency",
        "asset": _asset_key(movement.asset),
        "amount": f"{movement.amount:f}",
        "fee": f"{movement.fee:f}",
        "balance": f"{movement.balance:f}",
    }


def _iso(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _page(rows: Iterable[_T], given: Mapping[str, Any]) -> list[_T]:
    skipped = int(given.get("ofs", 0))
    return list(islice(rows, skipped, skipped + PAGE))


def _iban(account: Account) -> str:
    """Kraken's number of an account: "AA", two digits and three groups of four."""
    digest = hashlib.sha256(account.key.encode()).hexdigest().upper()
    return f"AA88 {digest[:4]} {digest[4:8]} {digest[8:12]}"


def _invalid(field: str) -> KrakenError:
    return KrakenError(f"EGeneral:Invalid arguments:{field}")


def _too_fine(record: Mapping[str, Any]) -> KrakenError:
    return KrakenError(
        f"EOrder:Invalid price:{record['altname']} price can only be specified up to"
        f" {record['pair_decimals']} decimals."
    )


def _result(result: Any) -> Reply:
    return Reply.json({"error": [], "result": result})


def _error(*errors: str) -> Reply:
    return Reply.json({"error": list(errors)})


VENUE = KrakenVenue
