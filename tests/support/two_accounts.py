"""Two accounts of one server, and every call by which one of them could reach what is the other's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import requests

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.server.app import ROUTES
from bitmm.xwrap.server.db import tables
from tests.conftest import Server

__all__ = ["SCOPES", "Call", "Party", "calls", "compared", "owned_rows", "reaches"]

SCOPES = ("read", "trade", "send", "owner")
ADDRESS = "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"
#: An id that nobody has; it has as many digits as the real ones.
_ABSENT = "9"
_UNICODE = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
#: What is sent to each route that takes something, so that its owner would get it done.
_BODIES = {
    "buy": {"currency": "USD", "asset": "BTC", "amount": "0.01"},
    "sell": {"currency": "USD", "asset": "BTC", "amount": "0.01"},
    "send_to_address": {"asset": "BTC", "amount": "0.001", "address": ADDRESS},
    "deadman": {"seconds": "600"},
}
_QUERIES = {"exchange_rate": {"from": "USD", "to": "BTC"}, "fills": {"currency": "USD", "asset": "BTC"}}


class Party:
    """An account with a paper registration, an order, a send, an address and a credential, all with texts of its own.

    `mark`: these texts begin with it, and no other account has one like it.
    """

    def __init__(self, server: Server, name: str, mark: str, amount: str) -> None:
        self.name = name
        self.auth = server.account(name, f"{mark} password")
        xw = XWrap(server.url)
        self.label, self.key, self.bot, self.amount = f"{mark}-label", f"{mark}-key", f"{mark}-bot", amount
        backend = xw.create_backend(*self.auth, "paper", self.name, "", "", label=self.label)
        self.registration = str(backend.id)
        backend.buy("USD", "BTC", "0.02", key=self.key)
        self.order = str(backend.buy("USD", "BTC", amount, price="1", key=f"{self.key}-2")["id"])
        backend.send_to_address("BTC", "0.001", ADDRESS, key=f"{self.key}-3")
        self.wallet = f"{mark}-wallet"
        self.address = str(xw.add_address(*self.auth, "BTC", ADDRESS, label=self.wallet)["id"])
        xw.add_credential(*self.auth, self.bot, "read")
        backend.deadman(86_400)
        self.logins = {scope: server.credential(name, scope, scope) for scope in SCOPES[:-1]} | {"owner": self.auth}

    @property
    def marks(self) -> Sequence[str]:
        """What only this account has, and no answer to another may have."""
        return self.label, self.key, self.bot, self.amount, self.wallet


@dataclass(frozen=True)
class Call:
    """A call to a route of the server, with an id that is another's, or one like it that nobody has."""

    method: str
    route: str
    url: str
    #: The call with the absent id; None: it has no id in it.
    absent: str | None
    data: dict[str, str] = field(default_factory=dict)
    absent_data: dict[str, str] = field(default_factory=dict)

    def send(self, session: requests.Session, base: str, *, absent: bool = False) -> requests.Response:
        """Send it, or the same with the absent id."""
        url, data = (self.absent, self.absent_data) if absent else (self.url, self.data)
        # Built here: a session would tidy up a path like "/exchanges/." before it leaves.
        request = session.prepare_request(requests.Request(self.method, base, data=data))
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
            else:
                yield from _without_id(method, route.path, other)


def _paths(path: str, names: Sequence[str], own: Party, other: Party) -> Iterator[tuple[str, str]]:
    places = {"id": other.registration, "order_id": other.order, "address_id": other.address, "name": other.bot}
    last = names[-1]
    for found, absent in _spellings(places[last], "nobodys-bot" if last == "name" else _ABSENT, other):
        if last != "order_id":
            yield path.replace(f"{{{last}}}", found), path.replace(f"{{{last}}}", absent)
            continue
        # In a registration of one's own, and in the other's.
        for registration, nobodys in ((own.registration, own.registration), (other.registration, _ABSENT)):
            yield (
                path.format(id=registration, order_id=found),
                path.format(id=nobodys, order_id=absent),
            )


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
    data = _BODIES.get(last, {"label": "changed"} if method == "PATCH" else {})
    found, absent = (f"{path}?{query}" if query else path for path in (found, absent))
    return Call(method, route, found, absent, data, data)


def _without_id(method: str, path: str, other: Party) -> Iterator[Call]:
    """The routes without an id: what they list, and what they take by an id elsewhere."""
    if method == "GET":
        yield Call(method, path, path, None)
        for name, value in (("key", other.key), ("before", "9" * 9), ("since", "2000-01-01")):
            yield Call(method, path, f"{path}?{name}={value}", None)
    if (method, path) == ("POST", "/credentials"):
        data = {"name": "reach", "scope": "trade"}
        yield Call(method, path, path, path, data | {"exchanges": other.registration}, data | {"exchanges": _ABSENT})
    elif method == "POST" and path == "/exchanges":
        yield Call(method, path, path, None, {"exchange": "paper", "username": other.name, "label": "reach"})
    elif method == "POST" and path == "/addresses":
        yield Call(method, path, path, None, {"asset": "BTC", "address": ADDRESS, "label": "reach"})
    elif (method, path) == ("PATCH", "/account"):
        yield Call(method, path, path, None, {"name": other.name, "password": "a password of another one"})
    elif path == "/deadman":
        yield Call(method, path, path, None, _BODIES["deadman"])
    elif method != "GET":
        yield Call(method, path, path, None)


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
    text = answer.text.replace(path, "PATH")
    for named in (f"no order {path.rsplit('/', 1)[-1]};", f"names '{data.get('exchanges')}'"):
        text = text.replace(named, "what was sent")
    # The connection stays open after a refusal only when the body had come by then, which is a matter of chance.
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in ("date", "connection")}
    return answer.status_code, text, headers


def owned_rows(server: Server, name: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the data base that belongs to an account, by its table, without the times of the last use."""
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
        shown = ", ".join(sorted(columns - {"last_used"}))
        statement = f"SELECT {shown} FROM {table.name} WHERE {condition} ORDER BY 1, 2"
        rows[table.name] = server.sql(statement, account=account)
    return rows
