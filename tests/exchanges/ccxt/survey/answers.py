"""Which answer the stub gives to a request of a class of ccxt, and how it speaks of the order that was asked about."""

from __future__ import annotations

import copy
import json
import re
import time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

from bitmm.xwrap.money import plain
from tests.exchanges.ccxt.survey.samples import Samples

__all__ = ["Answers", "Told", "is_about_futures"]

WRITTEN = json.loads(Path(__file__).with_name("answers.json").read_text())
#: The methods that read a row of an answer, where the method that asks for it has no sample.
_PARSERS = {
    "fetch_balance": "parse_balance",
    "fetch_currencies": "parse_currency",
    "fetch_markets": "parse_market",
    "fetch_my_trades": "parse_trade",
    "fetch_order_book": "parse_order_book",
    "fetch_ticker": "parse_ticker",
    "fetch_tickers": "parse_ticker",
    "cancel_order": "parse_order",
}
_LISTS = {"fetch_open_orders", "fetch_orders", "fetch_closed_orders", "fetch_my_trades", "fetch_tickers"}
#: Markets and orders of other kinds than spot, by the words before a sample and the names of requests.
_OTHER = re.compile(
    "swap|future|contract|linear|inverse|option|margin|perp|dapi|fapi|eapi|derivative|delivery|isolated", re.IGNORECASE
)
_UNWANTED = re.compile(
    rf"{_OTHER.pattern}|trigger|stop|algo|error|conditional|uta\b|websocket|\bws\b|watch|vanilla|plan|tpsl|portfolio"
    "|preview|trailing|batch",
    re.IGNORECASE,
)
_ABOUT_ORDERS = re.compile(r"create_|fetch_\w*order\b|orders|cancel_|look_up")


def plain_name(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


def words(text):
    return frozenset(text.split())


#: What exchanges call the parts of an order, without case and separators.
IDS = words(
    "entryid orderguid exordid id orderid ordid oid orderno ordernumber uuid ordertxid txid orderhash orderidstr"
    " ordersn"
)
CLIENT_IDS = words(
    "clientorderid clordid clientoid clientid cloid customid clorderid newclientorderid usertag identifier userref"
    " origclientorderid label externaloid orderlinkid"
)
SYMBOLS = words(
    "assetpairname instrumentid symbol market pair instrument instid instrumentname productid currencypair marketsymbol"
    " tickerid tradingpair symbolname symbolid productcode instrumentcode marketid pairid coinpair symbols"
)
SIDES = words("side type ordertype direction bs tradetype action ordtype orderside buyorsell tradeside takerside t")
AMOUNTS = words(
    "originalorderbasesize currentorderbasesize amount quantity qty size origqty orderqty volume vol sz units"
    " basequantity basesize originalamount totalquantity initialamount oamount orderamount origquantity"
    " originalquantity amountbase quantityordered origamount q orderquantity volumeordered originalvolume limitvolume"
    " basevolume requestedvolume"
)
PRICES = words("price px limitprice rate orderprice p limitpx requestedprice")
#: What is filled or left of an amount: these parts keep their share of it.
SHARES = words(
    "remainingorderbasesize remaining remainingamount openamount leavesqty remainqty unfilledsize left"
    " leftamount remain remainingsize remainingquantity outstanding amountremaining quantityremaining"
    " filled filledamount filledsize executedqty executedamount executedquantity cumqty dealamount"
    " dealsize cumexecqty accfillsz filledquantity quantityexecuted filledqty amountfilled volumefilled"
    " executedvolume dealstock cumquantity cumulativequantity basefilled executed"
)


class Answers:
    """The answers of one class: ccxt's own samples, and those of answers.json, by the methods that ask."""

    def __init__(self, id, kind) -> None:
        self.samples = Samples(kind)
        self.written = WRITTEN.get(id, {})
        self.ids = IDS | {*self.written.get("order_ids", ())}
        self.client_ids = CLIENT_IDS | {*self.written.get("client_ids", ())}
        #: The requests that were answered by hand.
        self.by_hand = set()

    def find(self, methods, names, params):
        """The answer to the request called `names` that these methods make, the nearest first; None: there is none."""
        answer = self._of(methods, names)
        loads = "load_markets" in methods and not self.written.get("lists_all_kinds")
        return emptied(answer) if loads and is_about_futures(names, params) else answer

    def _of(self, methods, names):
        written = self.written.get("answers", {})
        for key in (
            *(f"{method}:{name}" for name in names for method in methods),
            *names,
            *(f"{m}:*" for m in methods),
        ):
            if (found := written.get(key)) is not None:
                if "by_hand" in found:
                    self.by_hand.add(names[0])
                    return copy.deepcopy(found["by_hand"])
                if "nothing" in found:
                    return found["nothing"]
                return self._cut(found)
        order = next(
            (m for m in methods if re.match(r"(create|fetch|cancel)_.*order", m) and m != "fetch_order_book"), ""
        )

        def value(sample, start):
            """How well a sample fits."""
            heading, document = sample.heading.lower(), sample.document
            said = heading.replace(" ", "").replace("_", "")
            start += 3 * bool(re.search(r"\bspot\b", heading)) - 4 * bool(_UNWANTED.search(heading))
            start += 2 * any(method.replace("_", "") in said for method in methods)
            if order and not order.startswith("cancel"):
                start += 4 if self._has_id(document) else -6
            if isinstance(document, list) and all(isinstance(item, int | float) for item in document):
                start -= 9
            no_answer = isinstance(document, dict) and document.keys() <= words("code msg message error success status")
            return start - 8 * (no_answer and not order.startswith("cancel"))

        def best(found, least):
            fit, _, document = max(found, key=lambda each: each[:2], default=(-99, 0, None))
            return document if fit >= least else None

        near = [
            (value(sample, 11 - place / 2), -number, sample.document)
            for number, (place, sample) in enumerate(
                pair for method in dict.fromkeys(methods) for pair in self.samples.after(method, names)
            )
        ]
        if not near:
            near = [
                (value(sample, 6 - place / 2), -number, sample.document)
                for number, (place, sample) in enumerate(
                    pair
                    for method in dict.fromkeys(self.samples.methods())
                    for pair in self.samples.after(method, names)
                )
            ]
        if (answer := best(near, 6)) is not None:
            return copy.deepcopy(answer)
        rows = [*near]
        for method in methods:
            parser = "parse_order" if method == order else _PARSERS.get(method)
            for sample in self.samples.of(parser) if parser else ():
                row = [sample.document] if isinstance(sample.document, dict) and method in _LISTS else sample.document
                rows.append((value(sample, 3), -len(rows), row))
        return copy.deepcopy(best(rows, -90))

    def _cut(self, found):
        """A sample, or an answer of ccxt's own tests, as answers.json cuts it out and wraps it up."""
        if "recorded" in found:
            answer = copy.deepcopy(found["recorded"])
        else:
            method, _, number = found["sample"].partition("#")
            answer = copy.deepcopy(self.samples.of(method)[int(number)].document)
        for name in found.get("part", ()):
            answer = answer[name]
        changed = [answer] if found.get("in_a_list") else answer
        for path, text in found.get("changed", {}).items():
            *way, last = path.split(".")
            row = answer
            for name in way:
                row = row[int(name) if isinstance(row, list) else name]
            row[int(last) if isinstance(row, list) else last] = text
        changed = _renamed(changed, found.get("renamed", {}))
        for name in reversed(found.get("inside", ())):
            changed = {**found.get("beside", {}), name: changed}
        return changed

    def _has_id(self, answer):
        if isinstance(answer, list):
            return any(map(self._has_id, answer[:2]))
        if not isinstance(answer, dict):
            return False
        return any((plain_name(k) in self.ids and v is not None) or self._has_id(v) for k, v in answer.items())


def is_about_futures(names, params):
    """Whether a request asks for other markets than spot, by its name or by what it is given."""
    asked = [names[0], *(map(str, params.values()) if isinstance(params, dict) else ())]
    return any(_OTHER.search(text) and "spot" not in text.lower() for text in asked)


def _renamed(answer, names):
    if isinstance(answer, dict):
        return {names.get(name, name): _renamed(value, names) for name, value in answer.items()}
    return [_renamed(value, names) for value in answer] if isinstance(answer, list) else answer


def emptied(answer):
    """The same answer with nothing in its lists: there is none of this kind."""
    if isinstance(answer, dict):
        return {name: emptied(value) for name, value in answer.items()}
    return [] if isinstance(answer, list) else answer


class Told:
    """What the stub's answers speak of: the market, and the order with its id at the exchange."""

    def __init__(self, answers) -> None:
        self.answers = answers
        self.market = None
        self.order = None
        self.order_id = None
        #: Our id as the exchange gets it, and the field in which it tells it; some samples lack the field.
        self.client_id = self.client_field = None

    def adapted(self, methods, answer):
        """The answer as the exchange would give it of this market and this order."""
        asked = " ".join(methods)
        if self.market is not None:
            answer = self._filled(answer)
            if re.search(r"fetch_(ticker|bids|my_trades|order_books)", asked):
                answer = self._of_market(answer)
        if self.order is not None and _ABOUT_ORDERS.search(asked) and "order_book" not in asked:
            self._of_order(answer)
        return answer

    def _filled(self, answer):
        if isinstance(answer, dict):
            return {self._filled(name): self._filled(value) for name, value in answer.items()}
        if isinstance(answer, list):
            return [self._filled(value) for value in answer]
        if isinstance(answer, str) and "{" in answer:
            for name, text in self._placeholders().items():
                answer = answer.replace(f"{{{name}}}", str(text))
        return answer

    def _placeholders(self):
        market = self.market
        order = self.order or SimpleNamespace(side="buy", price=None, amount=None)
        buys, limit, amount = order.side == "buy", order.price is not None, order.amount or Decimal(0)
        side, kind = order.side, "limit" if limit else "market"
        names = {"side": side, "kind": kind, "bid": "bid" if buys else "ask"}
        names |= {name.upper(): text.upper() for name, text in names.items()}
        names |= {name.capitalize(): text.capitalize() for name, text in [("side", side), ("kind", kind)]}
        return names | {
            "market": market["id"],
            "base": market["base"],
            "quote": market["quote"],
            "lbase": market["base"].lower(),
            "lquote": market["quote"].lower(),
            "BaseId": market["baseId"],
            "QuoteId": market["quoteId"],
            "order": self.order_id or "1234567",
            "client": self.client_id or "",
            "amount": plain(amount),
            "samount": plain(amount if buys else -amount),
            "amount_ev": int(amount * 10**8),
            "price": plain(order.price) if limit else "100",
            "price_ep": int((order.price or 0) * 10**8),
            "Offer": "Bid" if buys else "Offer",
            "AB": "B" if buys else "A",
            "now": time.time_ns() // 10**6,
            "side01": "0" if buys else "1",
            "side12": "1" if buys else "2",
            "type12": "1" if limit else "2",
        }

    def _of_market(self, answer):
        """The answer with its first row about this market."""
        if isinstance(answer, list):
            return [self._of_market(row) if not place else row for place, row in enumerate(answer)]
        if not isinstance(answer, dict):
            return answer
        return {
            name: like(value, self.market["id"])
            if plain_name(name) in SYMBOLS and isinstance(value, str | int)
            else self._of_market(value)
            for name, value in answer.items()
        }

    def _of_order(self, answer):
        """Write the market, ids, side, kind, amount and price of the order into the first row of the answer."""
        if isinstance(answer, list):
            if answer:
                self._of_order(answer[0])
            return
        if not isinstance(answer, dict):
            return
        order, share = self.order, None
        if isinstance(self.client_field, str) and any(plain_name(name) in self.answers.ids for name in answer):
            answer[self.client_field] = self.client_id
        for name, value in answer.items():
            if plain_name(name) in AMOUNTS and is_number(value) and Decimal(str(value)) and order.amount is not None:
                share = order.amount / Decimal(str(value))
                break
        for name, value in answer.items():
            known = plain_name(name)
            if isinstance(value, dict | list):
                if known not in {"fills", "trades", "fees"}:
                    self._of_order(value)
            elif known in self.answers.client_ids and known not in self.answers.ids:
                if self.client_id is not None:
                    answer[name] = self.client_id
            elif value is None:
                continue
            elif share is not None and known in SHARES and is_number(value):
                answer[name] = like(value, plain((Decimal(str(value)) * share).quantize(Decimal("1e-8")).normalize()))
            elif known in self.answers.ids:
                answer[name] = value if self.order_id is None else like(value, self.order_id)
            elif known in SYMBOLS and isinstance(value, str | int):
                answer[name] = like(value, self.market["id"])
            elif known in SIDES and isinstance(value, str):
                answer[name] = kind_word(side_word(value, order.side), order.price is not None)
            elif known in AMOUNTS and order.amount is not None and is_number(value):
                answer[name] = like(value, plain(order.amount))
            elif known in PRICES and order.price is not None and is_number(value):
                answer[name] = like(value, plain(order.price))


def is_number(value):
    if isinstance(value, str):
        return re.fullmatch(r"-?\d*\.?\d+(e-?\d+)?", value, re.IGNORECASE) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def like(value, text):
    """The text as the number or the text that `value` is."""
    if isinstance(value, str) or not is_number(value) or not is_number(str(text)):
        return str(text)
    return json.loads(str(text))


def side_word(word, side):
    for buy, sell in (
        ("buy", "sell"),
        ("Buy", "Sell"),
        ("BUY", "SELL"),
        ("bid", "ask"),
        ("BID", "ASK"),
        ("Bid", "Ask"),
    ):
        word = word.replace(sell, buy) if side == "buy" else word.replace(buy, sell)
    return word


def kind_word(word, limit):
    for one, other in (("limit", "market"), ("Limit", "Market"), ("LIMIT", "MARKET")):
        word = word.replace(other, one) if limit else word.replace(one, other)
    return word
