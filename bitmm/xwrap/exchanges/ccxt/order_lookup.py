"""Looking an order up by our client id: the questions that ccxt's classes are asked, one or more at each exchange.

A question is a function of a ccxt object and of what is looked for. It returns the orders that may be the one, in
ccxt's unified form; the adapter compares their ids. Most questions are one call for one order. Where an exchange has no
such call, or one for open orders only, a list since the time of the order is read to its end. In a list the ids are
compared in the rows as the exchange sent them, so that another row that is odd is never read. What is no list, and a
row that does not say its id, raise an error: they do not show that our order is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..errors import Unsupported
from ..parsing import list_of_rows

__all__ = [
    "Lookup",
    "LookupCalls",
    "Question",
    "absent_if",
    "bitfinex_history",
    "bitfinex_open",
    "bitget_history",
    "bitget_open",
    "bitvavo_history",
    "bybit_orders",
    "coinbase_open",
    "coinbase_orders",
    "field_of",
    "gateio_history",
    "htx_orders",
    "kraken_orders",
    "kucoin_history",
    "one_order",
    "one_order_by",
]

#: The most pages that are read of a list. That the order is not on so many proves nothing.
_MAX_PAGES = 20
#: A day in milliseconds. HTX lists the orders of two days at once, Bitvavo of one.
_DAY = 24 * 60 * 60 * 1000

#: An order as an exchange sends it, and one in ccxt's unified form.
_Raw = Any
_Row = dict[str, Any]
#: Whether an answer, by its HTTP status and its document, says that there is certainly no such order.
_SaysAbsent = Callable[[int, Any], bool]
#: HTTP status and document before there is an answer.
_NO_ANSWER: tuple[int, Any] = (0, None)


class Lookup(NamedTuple):
    """What is looked for. `id`: the exchange's form of our id. `since`: in milliseconds since 1970; None: not known."""

    id: Any
    symbol: str
    since: int | None


#: Returns the orders that may be the one; none: it is not shown by this question.
Question = Callable[[Any, Lookup], Sequence[_Row]]


class LookupCalls:
    """What our subclass of a class of ccxt has for these questions; it comes before ccxt's own among the bases."""

    #: HTTP status and document of the last answer to a question; None at all other times, because some are large.
    last_answer: tuple[int, Any] | None = None

    def look_up(self, question: Question, lookup: Lookup) -> Sequence[_Row]:
        """Return the answer to a question; it is called like a unified call of ccxt."""
        self.last_answer = _NO_ANSWER
        try:
            return question(self, lookup)
        finally:
            self.last_answer = None

    def handle_errors(
        self, status: int, reason: str, url: str, method: str, headers: Any, body: str, *rest: Any
    ) -> Any:
        """Keep the answer, and let ccxt's class read the errors in it. `rest` begins with the document."""
        if self.last_answer is not None:
            self.last_answer = status, rest[0]
        return super().handle_errors(status, reason, url, method, headers, body, *rest)  # type: ignore[misc]  # ccxt's


def absent_if(path: str, *values: str, status: int | None = None) -> _SaysAbsent:
    """Return a function that knows the answer "there is no such order": one of `values` at `path` in the document.

    `status`: the HTTP status that it must have, too; an error of the server says nothing.
    """

    def says_absent(given_status: int, document: Any) -> bool:
        for name in path.split("."):
            document = document.get(name) if isinstance(document, dict) else None
        return str(document) in values and (given_status == status if status else given_status < 500)

    return says_absent


def field_of(row: _Row, name: str | int) -> str | None:
    """Return a field of an order as the exchange sent it, as text; None when it is missing or empty."""
    raw = row["info"]
    if not isinstance(raw, list if isinstance(name, int) else dict):
        return None
    value = _field(raw, name)
    return None if value in (None, "") else str(value)


def _field(raw: _Raw, name: str | int) -> Any:
    return raw[name] if isinstance(name, int) else raw.get(name)


def _unless_absent(ccxt: Any, says_absent: _SaysAbsent, call: Callable[[], Any]) -> Any:
    """Return what `call` returns; None when the answer says that there is no such order. All other failures are raised:
    they answer nothing.
    """
    ccxt.last_answer = _NO_ANSWER
    try:
        return call()
    except Exception:
        if says_absent(*ccxt.last_answer):
            return None
        raise


def one_order(says_absent: _SaysAbsent) -> Question:
    """Return the question for one order by ccxt's unified `fetch_order`, where that takes our id."""

    def question(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
        params = {"clientOrderId": lookup.id}
        row = _unless_absent(ccxt, says_absent, lambda: ccxt.fetch_order(None, lookup.symbol, params))
        return [] if row is None else [row]

    return question


def one_order_by(
    method: str, name: str, says_absent: _SaysAbsent, *, inside: str | None = None, lists_none: bool = False
) -> Question:
    """Return the question for one order by a raw call of ccxt, with our id as its parameter `name`.

    The order, or a list of orders, is the whole answer or what stands `inside` it; with `lists_none` the list may be
    empty, which says that there is none.
    """

    def question(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
        answer = _unless_absent(ccxt, says_absent, lambda: getattr(ccxt, method)({name: lookup.id}))
        if answer is None:
            return []
        found = answer if inside is None else answer[inside]
        if not found and not (lists_none and isinstance(found, list)):
            raise ValueError("no order, and no word that there is none")
        return _parsed(ccxt, lookup, found if isinstance(found, list) else [found])

    return question


def _parsed(ccxt: Any, lookup: Lookup, raws: Iterable[_Raw]) -> list[_Row]:
    market = ccxt.market(lookup.symbol)
    return [ccxt.parse_order(raw, market) for raw in raws]


def _pages(ccxt: Any, read: Callable[[Any], tuple[list[_Raw], Any]]) -> Iterator[list[_Raw]]:
    """Yield the pages of a list. `read` returns the page at a cursor (None: the first) and the next cursor, if any.

    Raises Unsupported when there are more than can be read.
    """
    cursor = None
    for _ in range(_MAX_PAGES):
        page, cursor = read(cursor)
        yield list_of_rows(page)
        if cursor is None:
            return
    raise Unsupported(f"{ccxt.name} lists too many orders since then")


def _listed(
    ccxt: Any,
    lookup: Lookup,
    field: str,
    read: Callable[[Any], tuple[list[_Raw], Any]],
    *,
    otherwise: str | None = None,
) -> Sequence[_Row]:
    """Return the orders of a list that have our id; it is read as far as the first page with one.

    Raises KeyError for a row without the `field` of the id, unless such an order has none: then it has at least the
    field `otherwise`.
    """
    for page in _pages(ccxt, read):
        found = [raw for raw in page if str(raw[field if field in raw else otherwise or field]) == str(lookup.id)]
        if found:
            return _parsed(ccxt, lookup, found)
    return []


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def kraken_orders(method: str) -> Question:
    """Return the question for the orders of one of Kraken's two lists, which filter by our id."""
    listed = {"fetch_open_orders": "open", "fetch_closed_orders": "closed"}[method]

    def question(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
        rows: Sequence[_Row] = getattr(ccxt, method)(params={"clientOrderId": lookup.id})
        # ccxt takes an answer without the list for an empty list, which would prove that the order is not there.
        if not isinstance(ccxt.last_answer[1]["result"][listed], dict):
            raise TypeError("no list of orders")
        return rows

    return question


def bybit_orders(method: str) -> Question:
    """Return the question for the orders of one of Bybit's two lists, which filter by our id."""

    def question(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
        asked = {"category": "spot", "symbol": ccxt.market_id(lookup.symbol), "orderLinkId": lookup.id}
        return _parsed(ccxt, lookup, list_of_rows(getattr(ccxt, method)(asked)["result"]["list"]))

    return question


def _is_unified_at_bitget(ccxt: Any) -> bool:
    return bool(ccxt.handle_uta_and_params({}, "fetchOrder", False)[0])


def _bitget_unified(method: str, ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
    """Read one of the lists of orders of a unified account of Bitget."""
    asked = _given(category="SPOT", symbol=ccxt.market_id(lookup.symbol), startTime=lookup.since, limit="100")

    def read(cursor: Any) -> tuple[list[_Raw], Any]:
        answer = getattr(ccxt, method)(asked | _given(cursor=cursor))["data"]
        cursor = answer["cursor"] or None
        # null, where there is no cursor either, is how Bitget says that there are none.
        page = [] if answer["list"] is None and cursor is None else list_of_rows(answer["list"])
        return page, cursor if len(page) == 100 else None

    return _listed(ccxt, lookup, "clientOid", read)


def bitget_open(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
    """Ask Bitget for an open order: a classic account by our id, which finds it while it is not filled."""
    if _is_unified_at_bitget(ccxt):
        return _bitget_unified("privateUtaGetV3TradeUnfilledOrders", ccxt, lookup)
    is_absent = absent_if("code", "43001")
    question = one_order_by(
        "privateSpotGetV2SpotTradeOrderInfo", "clientOid", is_absent, inside="data", lists_none=True
    )
    return question(ccxt, lookup)


def bitget_history(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
    """Read Bitget's orders that are over, newest first; it has no filter for our id."""
    if _is_unified_at_bitget(ccxt):
        return _bitget_unified("privateUtaGetV3TradeHistoryOrders", ccxt, lookup)
    asked = _given(symbol=ccxt.market_id(lookup.symbol), startTime=lookup.since, limit="100")

    def read(cursor: Any) -> tuple[list[_Raw], Any]:
        page = ccxt.privateSpotGetV2SpotTradeHistoryOrders(asked | _given(idLessThan=cursor))["data"]
        return page, page[-1]["orderId"] if len(page) == 100 else None

    return _listed(ccxt, lookup, "clientOid", read)


def kucoin_history(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
    """Read the orders that are over of a classic account of KuCoin. A unified one is found by the single call."""
    if ccxt.is_uta_enabled():
        return []
    asked = _given(status="done", symbol=ccxt.market_id(lookup.symbol), startAt=lookup.since, pageSize=500)

    def read(cursor: Any) -> tuple[list[_Raw], Any]:
        number = cursor or 1
        answer = ccxt.privateGetOrders({**asked, "currentPage": number})["data"]
        return answer["items"], number + 1 if number < int(answer["totalPage"]) else None

    return _listed(ccxt, lookup, "clientOid", read)


def coinbase_orders(ccxt: Any, lookup: Lookup, status: str | None = None) -> Sequence[_Row]:
    """Read Coinbase's orders since then, of all statuses or of one; of all markets, because some have two names there
    ("alias_to" of a product: BTC-USDC is BTC-USD), and which one an order is listed by is not documented.
    """
    since = None if lookup.since is None else ccxt.iso8601(lookup.since)
    asked = _given(order_status=status, start_date=since, limit=1000)

    def read(cursor: Any) -> tuple[list[_Raw], Any]:
        answer = ccxt.v3PrivateGetBrokerageOrdersHistoricalBatch(asked | _given(cursor=cursor))
        if not isinstance(answer["has_next"], bool):
            raise TypeError("no word of a next page")
        return answer["orders"], answer["cursor"] if answer["has_next"] else None

    return _listed(ccxt, lookup, "client_order_id", read)


#: Coinbase's "List Orders" does not say whether open orders are among those of all statuses.
coinbase_open: Question = partial(coinbase_orders, status="OPEN")


def bitfinex_open(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
    """Read Bitfinex's open orders of one market."""
    return _bitfinex(ccxt, lookup, ccxt.privatePostAuthROrdersSymbol({"symbol": ccxt.market_id(lookup.symbol)}))


def bitfinex_history(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
    """Read Bitfinex's orders of one market that were over since then, newest first."""
    asked = _given(symbol=ccxt.market_id(lookup.symbol), start=lookup.since, limit=_BITFINEX_PAGE)

    def read(cursor: Any) -> tuple[list[_Raw], Any]:
        page = ccxt.privatePostAuthROrdersSymbolHist(asked | _given(end=cursor))
        return page, page[-1][_BITFINEX_UPDATED] if len(page) == _BITFINEX_PAGE else None

    for page in _pages(ccxt, read):
        if found := _bitfinex(ccxt, lookup, page):
            return found
    return []


#: Where our id, the time of creation and that of the last change stand in an order of Bitfinex, and its longest page.
_BITFINEX_ID, _BITFINEX_CREATED, _BITFINEX_UPDATED = 2, 4, 5
_BITFINEX_PAGE = 2500


def _bitfinex(ccxt: Any, lookup: Lookup, page: list[_Raw]) -> Sequence[_Row]:
    """Return the orders with our id, which an order of another day may have, too."""
    return [
        ccxt.parse_order({"result": raw})
        for raw in list_of_rows(page)
        if str(raw[_BITFINEX_ID]) == str(lookup.id)
        and (lookup.since is None or int(raw[_BITFINEX_CREATED]) >= lookup.since)
    ]


def bitvavo_history(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
    """Read the orders that were made at Bitvavo in the day since then, open and over, newest first."""
    end = None if lookup.since is None else lookup.since + _DAY
    asked = _given(market=ccxt.market_id(lookup.symbol), start=lookup.since, end=end, limit=1000)

    def read(cursor: Any) -> tuple[list[_Raw], Any]:
        page = ccxt.privateGetOrders(asked | _given(orderIdTo=cursor))
        return page, page[-1]["orderId"] if len(page) == 1000 else None

    # An order that was given no id lacks the field.
    return _listed(ccxt, lookup, "clientOrderId", read, otherwise="orderId")


def gateio_history(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
    """Read Gate's orders of one market that were over since then."""
    since = None if lookup.since is None else lookup.since // 1000
    market = ccxt.market_id(lookup.symbol)
    asked = _given(account="spot", currency_pair=market, status="finished", limit=100, **{"from": since})

    def read(cursor: Any) -> tuple[list[_Raw], Any]:
        number = cursor or 1
        page = ccxt.privateSpotGetOrders({**asked, "page": number})
        return page, number + 1 if len(page) == 100 else None

    return _listed(ccxt, lookup, "text", read)


def htx_orders(ccxt: Any, lookup: Lookup) -> Sequence[_Row]:
    """Read the orders that were made at HTX in the two days since then, open and over."""
    end = None if lookup.since is None else lookup.since + 2 * _DAY
    states = "pre-submitted,submitted,partial-filled,filled,partial-canceled,canceled"
    asked = {"symbol": ccxt.market_id(lookup.symbol), "states": states, "size": 100}
    asked |= _given(**{"start-time": lookup.since, "end-time": end})

    def read(cursor: Any) -> tuple[list[_Raw], Any]:
        page = ccxt.spotPrivateGetV1OrderOrders(asked | ({"from": cursor, "direct": "next"} if cursor else {}))["data"]
        return page, page[-1]["id"] if len(page) == 100 else None

    return _listed(ccxt, lookup, "client-order-id", read)
