"""Orders and sends: commit the intent, call the exchange, commit the outcome.

The journal has the intent before the exchange hears of it, and no transaction is open while the exchange thinks. The
same key with the same parameters gets the first answer again. What may have been executed is `unknown` until the
exchange was asked; it is neither called a failure nor sent again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from ..exchanges.base import Exchange, ExchangeError, NewOrder, NewWithdrawal, Side, Unknown
from ..money import plain
from .directory import Directory
from .problems import Problem, from_exchange
from .store import Journal, Registration, Store, now

__all__ = ["Answer", "Desk"]

_log = logging.getLogger(__name__)

_ORDER = (
    "id key exchange_order_id side type currency asset amount price cost status filled average spent fee fee_currency"
    " created updated"
).split()
_WITHDRAWAL = "id key asset amount fee address tag network txid status created".split()


_dumps = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller is told: `text` is JSON, and byte for byte the same when it is told again."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Desk:
    """Carries out what moves money, once."""

    def __init__(self, store: Store, directory: Directory) -> None:
        self._store = store
        self._directory = directory

    def place(
        self, registration: Registration, side: Side, currency: str, asset: str, amount: Decimal, key: str | None
    ) -> Answer:
        """Buy or sell `amount` of `asset` at the market; the answer is the order, or why nothing was placed."""
        intent = {"side": side, "type": "market", "currency": currency, "asset": asset, "amount": plain(amount)}

        def act(exchange: Exchange, client_id: str) -> dict[str, Any]:
            state = exchange.place(NewOrder(side, currency, asset, client_id, amount=amount))
            told = ("exchange_order_id", "status", "filled", "average", "spent", "fee", "fee_currency")
            return {name: getattr(state, name) for name in told}

        return self._once(self._store.orders, _ORDER, registration, key, intent, act)

    def send(self, registration: Registration, asset: str, amount: Decimal, address: str, key: str | None) -> Answer:
        """Send `amount` of `asset` to `address`; the answer is the withdrawal, or why nothing was sent."""
        intent = {"asset": asset, "amount": plain(amount), "address": address}

        def act(exchange: Exchange, client_id: str) -> dict[str, Any]:
            sent = exchange.withdraw(NewWithdrawal(asset, amount, address, client_id))
            told = {name: getattr(sent, name) for name in ("status", "fee", "txid", "network")}
            return {"exchange_withdrawal_id": sent.id, **told}

        return self._once(self._store.withdrawals, _WITHDRAWAL, registration, key, intent, act)

    def order_by_key(self, registration: Registration, key: str) -> Answer:
        """What became of the order with this key. Raises Problem 404 `no_such_key` when it never came here."""
        return _found(self._store.orders, _ORDER, registration, key)

    def withdrawal_by_key(self, registration: Registration, key: str) -> Answer:
        """What became of the send with this key. Raises Problem 404 `no_such_key` when it never came here."""
        return _found(self._store.withdrawals, _WITHDRAWAL, registration, key)

    def _once(
        self,
        journal: Journal,
        names: list[str],
        registration: Registration,
        key: str | None,
        values: dict[str, str],
        act: Callable[[Exchange, str], dict[str, Any]],
    ) -> Answer:
        if not registration.enabled:
            raise Problem(403, "registration_disabled", "this registration is switched off; nothing was sent")
        key = key or uuid.uuid4().hex
        fingerprint = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        with self._directory.registered(registration) as exchange:
            intent = journal.begin(registration.id, key, fingerprint, values)
            if not intent.fresh:
                return _again(intent.row, fingerprint, names)
            columns, problem = _carry_out(lambda: act(exchange, intent.row["client_id"]))
        columns["updated"] = now()
        answer = _answer({**intent.row, **columns}, names, problem)
        if columns["status"] != "unknown":
            columns |= {"answer_status": answer.status, "answer": answer.text}
        try:
            journal.finish(intent.row["id"], columns)
        except Exception as error:
            _log.exception("the outcome of %s could not be kept", key)
            raise Problem(
                500, "server_error", "the outcome could not be kept; ask again", may_have_executed=True
            ) from error
        return answer


def _carry_out(act: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], Problem | None]:
    """What to write into the journal, and the problem to tell when it was refused."""
    try:
        return {name: plain(v) if isinstance(v, Decimal) else v for name, v in act().items()}, None
    except Unknown as error:
        _log.warning("outcome unknown: %s", error)
        return {"status": "unknown"}, None
    except ExchangeError as error:
        return {"status": "rejected", "released": error.retryable}, from_exchange(error)
    except Exception:
        _log.exception("the exchange's adapter failed; the outcome is unknown")
        return {"status": "unknown"}, None


def _answer(row: Mapping[str, Any], names: list[str], problem: Problem | None = None) -> Answer:
    if problem is not None:
        return Answer(problem.status, _dumps(problem.body | {"key": row["key"]}), problem.headers)
    return Answer(202 if row["status"] == "unknown" else 200, _record(row, names))


def _record(row: Mapping[str, Any], names: list[str], **more: Any) -> str:
    return _dumps({name: row[name] for name in names} | more)


def _again(row: Mapping[str, Any], fingerprint: str, names: list[str]) -> Answer:
    if row["fingerprint"] != fingerprint:
        raise Problem(422, "key_reused", "this Idempotency-Key was used with other parameters; nothing was sent")
    if row["status"] == "running":
        raise _still_running()
    headers = {"Idempotent-Replayed": "true"}
    if row["answer"] is None:
        return Answer(202, _record(row, names), headers)
    return Answer(row["answer_status"], row["answer"], headers)


def _found(journal: Journal, names: list[str], registration: Registration, key: str) -> Answer:
    row = journal.by_key(registration.id, key)
    if row is None:
        raise Problem(404, "no_such_key", "nothing with this key came to this server")
    if row["status"] == "running":
        raise _still_running()
    if row["status"] == "rejected":
        return Answer(200, _record(row, names, error=json.loads(row["answer"])))
    return Answer(202 if row["status"] == "unknown" else 200, _record(row, names))


def _still_running() -> Problem:
    return Problem(
        409,
        "still_running",
        "the call with this key is still running; ask again",
        retryable=True,
        may_have_executed=True,
        headers={"Retry-After": "1"},
    )
