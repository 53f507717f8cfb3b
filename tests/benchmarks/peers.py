"""The work of an order on paper, as one writes it with Starlette or FastAPI, to be compared with ours.

    python -m tests.benchmarks.peers starlette | fastapi

Each order is logged in with Basic (a digest that is remembered, as ours), is refused a second time under the same key,
has a row of its own, moves two balances exactly and is in one commit, in one thread, on SQLite with synchronous=FULL.
Statements are SQLAlchemy Core's. It has no queue, no limits, no market rules, no audit and no recovery.
"""

import base64
import hashlib
import hmac
import secrets
import sys
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import parse_qsl

import uvicorn
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    select,
    update,
)

from .server import PASSWORD

PRICE = Decimal("27850.10")
KEY = secrets.token_bytes(32)
METADATA = MetaData()
ORDERS = Table(
    "orders",
    METADATA,
    Column("id", Integer, primary_key=True),
    *(Column(name, Text) for name in ("key", "side", "currency", "asset", "amount", "spent", "status", "created")),
    UniqueConstraint("key"),
)
BALANCES = Table("balances", METADATA, Column("currency", Text, primary_key=True), Column("total", Text))


def digest(password: str) -> bytes:
    """Return what is remembered of a login."""
    return hmac.digest(KEY, f"ann:{password}".encode(), hashlib.sha256)


KNOWN = digest(PASSWORD)


def open_engine() -> Any:
    """Return a new data base with the balances of one account."""
    engine = create_engine(f"sqlite:///{tempfile.mkdtemp()}/peer.sqlite3", connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA busy_timeout = 10000")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(BALANCES), [{"currency": "USD", "total": "1e9"}, {"currency": "BTC", "total": "0"}])
    return engine


def place(engine: Any, currency: str, asset: str, amount: Decimal, key: str) -> dict[str, Any]:
    """Buy at the price, once for a key, and return the order."""
    spent = amount * PRICE
    order = {"key": key, "side": "buy", "currency": currency, "asset": asset, "amount": str(amount)}
    order |= {"spent": str(spent), "status": "filled", "created": datetime.now(UTC).isoformat()}
    with engine.begin() as connection:
        if known := connection.execute(select(ORDERS).where(ORDERS.c.key == key)).mappings().first():
            return dict(known)
        order["id"] = connection.execute(insert(ORDERS), order).inserted_primary_key[0]
        for name, change in ((currency, -spent), (asset, amount)):
            total = connection.execute(select(BALANCES.c.total).where(BALANCES.c.currency == name)).scalar_one()
            changed = str(Decimal(total) + change)
            connection.execute(update(BALANCES).where(BALANCES.c.currency == name), {"total": changed})
    return order


def starlette_app() -> Any:
    """Return the application as one writes it with Starlette."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    engine = open_engine()

    async def buy(request: Request) -> Response:
        name, _, password = base64.b64decode(request.headers["authorization"][6:]).decode().partition(":")
        if name != "ann" or not hmac.compare_digest(digest(password), KNOWN):
            return Response(status_code=401)
        form = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        key = request.headers.get("idempotency-key") or secrets.token_hex(16)
        arguments = form["currency"], form["asset"], Decimal(form["amount"]), key
        return JSONResponse(await run_in_threadpool(place, engine, *arguments))

    return Starlette(routes=[Route("/buy", buy, methods=["POST"])])


def fastapi_app() -> Any:
    """Return the application as one writes it with FastAPI."""
    from fastapi import Depends, FastAPI, Form, Header, HTTPException
    from fastapi.security import HTTPBasic, HTTPBasicCredentials
    from pydantic import BaseModel

    class Order(BaseModel):
        id: int
        key: str
        side: str
        currency: str
        asset: str
        amount: str
        spent: str
        status: str
        created: str

    app, engine = FastAPI(), open_engine()

    @app.post("/buy")
    def buy(
        currency: Annotated[str, Form()],
        asset: Annotated[str, Form()],
        amount: Annotated[Decimal, Form()],
        credentials: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())],
        idempotency_key: Annotated[str | None, Header()] = None,
    ) -> Order:
        if credentials.username != "ann" or not hmac.compare_digest(digest(credentials.password), KNOWN):
            raise HTTPException(401)
        return place(engine, currency, asset, amount, idempotency_key or secrets.token_hex(16))

    return app


class Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()
        print(f"serves at http://{host}:{port}", flush=True)


if __name__ == "__main__":
    application = {"starlette": starlette_app, "fastapi": fastapi_app}[sys.argv[1]]()
    Server(uvicorn.Config(application, port=0, log_config=None, access_log=False, lifespan="off")).run()
