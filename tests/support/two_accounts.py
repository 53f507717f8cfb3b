"""Two accounts of one server, and every call by which one of them could reach what is the other's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, unquote

import requests

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.server.app import ROUTES
from bitmm.xwrap.server.db import tables
from tests.conftest import Server
from tests.support.answers import text_of

__all__ = ["SCOPES", "Call", "Party", "absent_is_taken", "calls", "compared", "owned_rows", "reaches"]

SCOPES = ("read", "trade", "send", "owner")
ADDRESS = "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"
REMOVED_ADDRESS = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
#: An id that nobody has; it has as many digits as the real ones, so that answers have the same length.
_ABSENT = "9"
_ABSENT_NAME = "nobodys-bot"
_UNICODE = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
#: What is sent to each route that takes something, so that its owner would get it done.
_BODIES = {
    "buy": {"currency": "USD", "asset": "BTC", "amount": "0.01"},
    "sell": {"currency": "USD", "asset": "BTC", "amount": "0.01"},
    "send_to_address": {"asset": "BTC", "amount": "0.001", "address": ADDRESS},
    "transfer": {"asset": "BTC", "amount": "0.001", "to": _ABSENT},
    "deadman": {"seconds": "600"},
}
_ABOUT_A_MARKET = ("fills", "order_book", "ticker", "candles", "trades", "fees")
_QUERIES = {
    "exchange_rate": {"from": "USD", "to": "BTC"},
    **{name: {"currency": "USD", "asset": "BTC"} for name in _ABOUT_A_MARKET},
}

#: What routes without an id want, so that they list something.
_COMPLETE_QUERIES = {
    "/value": ("currency=USD",),
    "/best": ("currency=USD&asset=BTC&side=buy&amount=0.01",),
}


class Party:
    """An account with a paper registration, orders, a send, an address and a credential, all with texts of its own.

    One more registration, address and credential were removed again. `mark`: the texts begin with it, and no other
    account has one like it. `amount`, of BTC, is of its orders, and no other account has the same.
    """

    #: Another registration, which can be transferred to, where a test gave it one.
    second = ""

    def __init__(self, server: Server, name: str, mark: str, amount: str) -> None:
        self.name = name
        self.auth = server.account(name, f"{mark} password")
        xw = XWrap(server.url)
        self.label, self.key, self.bot, self.amount = f"{mark}-label", f"{mark}-key", f"{mark}-bot", amount
        self.wallet = f"{mark}-wallet"
        # The live ones are older than the removed ones, and have ids of one digit like these.
        backend = xw.create_backend(*self.auth, "paper", self.name, "", "", label=self.label)
        self.registration = str(backend.id)
        backend.buy("USD", "BTC", amount, key=self.key)
        self.order = str(backend.buy("USD", "BTC", amount, price="1", key=f"{self.key}-2")["id"])
        backend.send_to_address("BTC", "0.001", ADDRESS, key=f"{self.key}-3")
        self.keys = (self.key, f"{self.key}-2", f"{self.key}-3")
        self.address = str(xw.add_address(*self.auth, "BTC", ADDRESS, label=self.wallet)["id"])
        self.bot_password = xw.add_credential(*self.auth, self.bot, "read")["password"]
        backend.deadman(86_400)
        self._remove_others(server, xw)
        # To the last digit it is this account's alone.
        self.balance = requests.get(f"{server.url}/exchanges/{backend.id}/balance", auth=self.auth, timeout=30).json()
        self.logins = {scope: server.credential(name, scope, scope) for scope in SCOPES[:-1]} | {"owner": self.auth}

    def _remove_others(self, server: Server, xw: XWrap) -> None:
        gone = xw.create_backend(*self.auth, "paper", f"{self.name}-2", "", "", label=f"{self.label}-2")
        self.removed_registration, self.removed_bot = str(gone.id), f"{self.bot}-2"
        self.removed_address = str(xw.add_address(*self.auth, "BTC", REMOVED_ADDRESS, label=f"{self.wallet}-2")["id"])
        xw.add_credential(*self.auth, self.removed_bot, "read")
        for path in (f"exchanges/{gone.id}", f"addresses/{self.removed_address}", f"credentials/{self.removed_bot}"):
            answer = requests.delete(f"{server.url}/{path}", auth=self.auth, timeout=30)
            assert answer.ok, answer.text

    @property
    def marks(self) -> Sequence[str]:
        """What only this account has, and no answer to another may have."""
        return self.label, self.key, self.bot, self.amount, self.wallet, *self.balance.values()


@dataclass(frozen=True)
class Call:
    """A call to a route of the server, with an id that is another's, or one like it that nobody has."""

    method: str
    route: str
    url: str
    #: The call with the absent id; None: it has no id in it, or one that nobody has.
    absent: str | None
    data: dict[str, str] = field(default_factory=dict)
    absent_data: dict[str, str] = field(default_factory=dict)
    #: The Idempotency-Key, which is one that the other account used; "": none.
    key: str = ""
    #: The body, where it is JSON.
    json: str = ""
    #: It names what the caller does not have, and so it must be refused.
    is_foreign: bool = True

    def send(self, session: requests.Session, base: str, *, absent: bool = False) -> requests.Response:
        """Send it, or the same with the absent id."""
        url, data = (self.absent, self.absent_data) if absent else (self.url, self.data)
        # Built here: a session would tidy up a path like "/exchanges/." before it leaves.
        headers = {"Idempotency-Key": self.key} if self.key else {}
        headers |= {"Content-Type": "application/json"} if self.json else {}
        request = requests.Request(self.method, base, data=self.json or data, headers=headers)
        request = session.prepare_request(request)
        request.url = f"{base}{url}"
        return session.send(request, timeout=30)


def calls(own: Party, other: Party) -> Iterator[Call]:
    """Every route, with each id of `other` and each spelling of it, as `own` may send it."""
    for route in ROUTES:
        for method in sorted(route.methods - {"HEAD"}):
            names = re.findall(r"{(\w+)}", route.path)
            if names:
                for found, absent in _paths(route.path, names, own, other):
                    yield _call(method, route.path, found, absent)
                if "id" in names:
                    yield from _with_keys(method, route.path, own, other)
                    yield from _at_home(method, route.path, own, other)
            else:
                yield from _without_id(method, route.path, other)


def _paths(path: str, names: Sequence[str], own: Party, other: Party) -> Iterator[tuple[str, str]]:
    places = {"id": other.registration, "order_id": other.order, "address_id": other.address, "name": other.bot}
    removed = {"id": other.removed_registration, "address_id": other.removed_address, "name": other.removed_bot}
    last = names[-1]
    nobodys = _ABSENT_NAME if last == "name" else _ABSENT
    pairs = list(_spellings(places[last], nobodys, other))
    if last in removed:
        pairs.append((removed[last], nobodys))
    for found, absent in pairs:
        if last != "order_id":
            yield path.replace(f"{{{last}}}", found), path.replace(f"{{{last}}}", absent)
            continue
        # In a registration of one's own, and in the other's.
        for registration, absent_registration in ((own.registration, own.registration), (other.registration, _ABSENT)):
            yield (
                path.format(id=registration, order_id=found),
                path.format(id=absent_registration, order_id=absent),
            )


def _with_keys(method: str, path: str, own: Party, other: Party) -> Iterator[Call]:
    """What names a registration, with a parameter that may find or do more than the path alone."""
    last = path.rsplit("/", 1)[-1]
    theirs, nobodys = path.replace("{id}", other.registration), path.replace("{id}", _ABSENT)
    if method == "GET" and last in ("orders", "withdrawals"):
        for key in other.keys:
            unused = "x" * len(key)
            home = path.replace("{id}", own.registration)
            yield Call(method, path, f"{theirs}?key={key}", f"{nobodys}?key={unused}")
            yield Call(method, path, f"{home}?key={key}", f"{home}?key={unused}")
        if last == "orders":
            yield Call(method, path, f"{theirs}?after=0&wait=1", f"{nobodys}?after=0&wait=1")
    elif method == "GET" and last == "exchange_rate":
        query = "?from=USD&to=BTC&after=&wait=1"
        yield Call(method, path, f"{theirs}{query}", f"{nobodys}{query}")
    elif method == "POST" and last in ("buy", "sell", "send_to_address"):
        for key in other.keys:
            yield Call(method, path, theirs, nobodys, _BODIES[last], _BODIES[last], key=key)
    elif last == "transfer":
        home, body = path.replace("{id}", own.registration), _BODIES[last]
        yield Call(method, path, home, home, {**body, "to": other.registration}, {**body, "to": _ABSENT})
        for to in filter(None, (own.registration, other.second)):
            yield Call(method, path, theirs, nobodys, {**body, "to": to}, {**body, "to": to})
        for key in other.keys:
            yield Call(method, path, theirs, nobodys, body, body, key=key)
    elif method == "POST" and last == "orders":
        for key in other.keys:
            yield Call(method, path, theirs, nobodys, json=_many_orders(key))
    elif (method, path) == ("DELETE", "/exchanges/{id}"):
        yield Call(method, path, f"{theirs}?force=true", f"{nobodys}?force=true")


def _at_home(method: str, path: str, own: Party, other: Party) -> Iterator[Call]:
    """The same route in the caller's own registration, which must not tell or change more than that one.

    Not what places an order, whose ids would soon be the absent one, and not what removes the registration.
    """
    last = path.rsplit("/", 1)[-1]
    places = last in ("buy", "sell") or (method, last) == ("POST", "orders")
    if places or (method, path) == ("DELETE", "/exchanges/{id}"):
        return
    call = _call(method, path, *[path.format(id=own.registration, order_id=own.order)] * 2)
    yield replace(call, is_foreign=False)
    if method == "GET" and last in ("orders", "withdrawals"):
        for before in (other.order, "9" * 9):
            yield replace(call, url=f"{call.url}?before={before}", is_foreign=False)
        if last == "orders":
            yield replace(call, url=f"{call.url}?after=0", is_foreign=False)


def _spellings(id: str, absent: str, other: Party) -> Iterator[tuple[str, str]]:
    """Pairs of an id of `other` and of one that nobody has, in the same spelling."""
    yield id, absent
    for form in ("0{}", "{}.0", "+{}", "-{}", " {}", "{} ", "{}e0", "{}\0", "0x{}", "{},{}"):
        yield tuple(quote(form.format(text, text), safe="/") for text in (id, absent))  # type: ignore[misc]
    yield quote(id.translate(_UNICODE)), quote(absent.translate(_UNICODE))
    for text in (other.label, other.key, other.name, other.bot):
        yield text, "x" * len(text)
    for text in ("0", "-1", str(2**63), str(2**64 + int(other.registration))):
        yield text, text


def _call(method: str, route: str, found: str, absent: str) -> Call:
    last = route.rsplit("/", 1)[-1]
    query = "&".join(f"{name}={value}" for name, value in _QUERIES.get(last, {}).items())
    others = {("PATCH", "{id}"): {"label": "changed"}, ("POST", "{order_id}"): {"price": "2"}}
    data = _BODIES.get(last, others.get((method, last), {}))
    found, absent = (f"{path}?{query}" if query else path for path in (found, absent))
    text = _many_orders("a-new-key") if (method, last) == ("POST", "orders") else ""
    # The same call twice would show nothing.
    return Call(method, route, found, absent if absent != found else None, data, data, json=text)


def _many_orders(key: str) -> str:
    """Return the body of a call with many orders, one of them with this key."""
    orders = [{"side": "sell", **_BODIES["sell"], "key": one} for one in (key, "another-new-key")]
    return json.dumps({"orders": orders})


def _without_id(method: str, path: str, other: Party) -> Iterator[Call]:
    """The routes without an id: what they list, and what they take by an id elsewhere."""
    if (method, path) == ("POST", "/credentials"):
        data = {"name": "reach", "scope": "trade"}
        yield Call(method, path, path, path, data | {"exchanges": other.registration}, data | {"exchanges": _ABSENT})
        return
    urls = [path]
    if method == "GET":
        queries = (("key", other.key), ("before", "9" * 9), ("since", "2000-01-01"))
        urls += [f"{path}?{name}={value}" for name, value in queries]
        urls += [f"{path}?{query}" for query in _COMPLETE_QUERIES.get(path, ())]
    bodies = {
        ("POST", "/exchanges"): {"exchange": "paper", "username": other.name, "label": "reach"},
        ("POST", "/addresses"): {"asset": "BTC", "address": ADDRESS, "label": "reach"},
        ("PATCH", "/account"): {"name": other.name, "password": "a password of another one"},
        ("PUT", "/deadman"): _BODIES["deadman"],
        ("POST", "/freeze"): {"cancel_orders": "true"},
    }
    for url in urls:
        yield Call(method, path, url, None, bodies.get((method, path), {}), is_foreign=False)


def reaches(answer: requests.Response, call: Call, other: Party) -> list[str]:
    """What an answer tells of `other`, beyond what the call itself said."""
    said = f"{call.url} {call.data}"
    told = f"{answer.text} {answer.headers}"
    return [mark for mark in other.marks if mark in told and mark not in said]


def compared(answer: requests.Response, call: Call, *, absent: bool = False) -> tuple[int, str, dict[str, str]]:
    """What of an answer must not depend on whether an id is another's or nobody's.

    The answer may name what was sent: the path, an order, a registration of a form.
    """
    url, data = (call.absent or "", call.absent_data) if absent else (call.url, call.data)
    path = unquote(url.partition("?")[0])
    text = text_of(answer).replace(path, "PATH")
    for named in (f"no order {path.rsplit('/', 1)[-1]};", f"names '{data.get('exchanges')}'"):
        text = text.replace(named, "what was sent")
    # The connection stays open after a refusal only when the body had come by then, which is a matter of chance.
    by_chance = ("date", "connection", "x-request-id")
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in by_chance}
    return answer.status_code, text, headers


def absent_is_taken(server: Server) -> list[str]:
    """The tables that have a row with the id that nobody is to have."""
    statement = "SELECT 1 FROM {} WHERE id = " + _ABSENT
    return [table for table in ("registrations", "orders", "addresses") if server.sql(statement.format(table))]


def owned_rows(server: Server, name: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the data base that belongs to an account, by its table; without the times of its last use, and of
    the last look at its open orders on paper, which the server itself may take at any moment.
    """
    [[account]] = server.sql("SELECT id FROM accounts WHERE name = :name", name=name)
    rows = {}
    for table in tables.metadata.sorted_tables:
        columns = set(table.c.keys())
        if table.name == "accounts":
            condition = "id = :account"
        elif "account_id" in columns:
            condition = "account_id = :account"
        elif "registration_id" in columns:
            condition = "registration_id IN (SELECT id FROM registrations WHERE account_id = :account)"
        else:
            continue
        shown = ", ".join(sorted(columns - {"last_used", "checked", "looked"}))
        statement = f"SELECT {shown} FROM {table.name} WHERE {condition} ORDER BY 1, 2"
        rows[table.name] = server.sql(statement, account=account)
    return rows
