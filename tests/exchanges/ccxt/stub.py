"""A stub of an exchange of ccxt at the transport: it keeps the exact requests and answers what it is given."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qsl, urlsplit

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.ccxt import exchange_class, instance
from bitmm.xwrap.exchanges.ccxt.parsing import spot_markets
from bitmm.xwrap.transport import Response
from tests.exchanges.ccxt.client_id_cases import CASES


class Stub:
    """A transport that answers what a case says. `placed`, `looks`: what arrived but for what ccxt reads before."""

    def __init__(self, case, *answers):
        self.case, self.answers = case, list(answers)
        self.calls = []

    def send(self, request):
        url = urlsplit(request.url)
        if url.path in self.case.before:
            answer = self.case.before[url.path]
            return _response(*(answer if isinstance(answer, tuple) else (200, answer)))
        fields = dict(parse_qsl(url.query))
        for name, value in request.headers.items():
            if name == "X-GEMINI-PAYLOAD":
                fields |= json.loads(base64.b64decode(value))
        fields |= _body(request.body)
        for name in self.case.volatile:
            assert fields.pop(name, None), f"no {name} in {fields}"
        self.calls.append((request.method, url.path, fields))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return _response(*answer)


def _body(body):
    text = (body or b"").decode()
    if not text.startswith(("{", "[")):
        return dict(parse_qsl(text))
    given = json.loads(text)
    return given[0] if isinstance(given, list) else given


def _response(status, document):
    return Response(status, {"content-type": "application/json"}, json.dumps(document).encode())


def class_of(name):
    """ccxt's name of the class of a case."""
    return name.partition(",")[0]


def listing_of(name):
    """The markets of a case: one, that is not read from the exchange."""
    case = CASES[name]
    offline = exchange_class(f"ccxt:{class_of(name)}").kind()
    row = {"id": case.market, "symbol": f"BTC/{case.currency}", "base": "BTC", "quote": case.currency}
    more = {"baseId": "BTC", "quoteId": case.currency, "spot": True, "type": "spot", "active": True}
    steps = offline.precisionMode == 4
    precision = {"amount": "0.00000001", "price": "0.01"} if steps else {"amount": 8, "price": 8}
    offline.set_markets([offline.safe_market_structure() | row | more | {"precision": precision, "info": case.info}])
    return instance.Markets(offline, spot_markets(offline))


def connected(name, *answers):
    """The exchange of a case with one market, and its stub."""
    case = CASES[name]
    cache = TTLCache()
    cache.get_or_fetch("markets", lambda: listing_of(name), seconds=3600)
    stub = Stub(case, *answers)
    keys = Credentials("", case.apikey, "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", case.more)
    kind = exchange_class(f"ccxt:{class_of(name)}")
    return kind(ExchangeContext(stub, keys, 1, cache=cache)), stub
