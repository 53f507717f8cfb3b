"""What must be true of a seed's whole history. The truth is the exchange's ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

#: The statuses of an order that is over.
FINAL = {"filled", "partly_filled", "canceled", "closed"}


@dataclass(frozen=True)
class Job:
    """One order or send that somebody wants, under one key; its amount in the ledger identifies it by its number."""

    number: int
    key: str
    verb: str
    #: Two registrations have the same exchange key.
    registration: int = 1
    #: Of a limit order.
    price: Decimal | None = None


@dataclass(eq=False)
class Call:
    """One call of buy, sell or send by a client."""

    job: Job
    began: float
    #: + executed, - not executed, ? may have been executed; None while it lasts.
    outcome: str | None = None
    ended: float | None = None
    words: str = ""
    #: The server said so, about this key; else the client alone.
    by_server: bool = False


@dataclass
class Checker:
    """Follows a history and keeps what is wrong with it."""

    calls: dict[Job, list[Call]] = field(default_factory=lambda: defaultdict(list))
    #: When each number was executed.
    executed: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    #: An older copy took the place of the data base.
    rows_may_be_lost: bool = False
    #: The highest nonce that was sent.
    nonce: int = 0
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def begin(self, call: Call) -> None:
        self.calls[call.job].append(call)

    def end(self, call: Call, now: float, outcome: str, words: str, *, by_server: bool) -> None:
        """Check what a client was told just now."""
        call.ended, call.outcome, call.words, call.by_server = now, outcome, words, by_server
        times = len(self.executed[call.job.number])
        if outcome == "+" and times != 1:
            self._add("lie", f"{call.job.key}: told at {now:.3f} that it was executed; it was {times} times ({words})")
        if outcome == "-" and times and (by_server or self._is_first(call)):
            self._add("lie", f"{call.job.key}: told at {now:.3f} that it was not executed, and it was ({words})")

    def execute(self, job: Job, now: float) -> None:
        """Check that what is executed just now may be."""
        times = self.executed[job.number]
        times.append(now)
        if len(times) > 1:
            self._add("doubled", f"{job.key}: executed again at {now:.3f}, before at {times[:-1]}")
        calls = self.calls[job]
        if calls and all(call.outcome == "-" for call in calls):
            self._add(
                "lie", f"{job.key}: executed at {now:.3f} after the last call was told it was not ({calls[-1].words})"
            )

    def check_followed(self, job: Job, row: Mapping[str, Any], order: Any) -> None:
        """Check in the end that a market order which is over is not called open for ever."""
        if job.price is None and row["status"] == "open" and order.status != "open":
            self._add("frozen", f"{job.key}: open in the journal, {order.status} at the exchange")

    def check_found(self, job: Job, status: str, now: float) -> None:
        """Check the status that a client was told when it asked for a key."""
        times = len(self.executed[job.number])
        if status not in {"unknown", "running"} and times != (status not in {"rejected", "failed"}):
            self._add("lie", f"{job.key}: told at {now:.3f} that it is {status}; it was executed {times} times")

    def check_no_such_key(self, job: Job, asked: float) -> None:
        """Check that nothing was executed with the key of a job before somebody asked, and was answered so."""
        if any(time < asked for time in self.executed[job.number]):
            self._add("lie", f"{job.key}: asked at {asked:.3f}, and told that nothing was executed with it")

    def check_end(self, job: Job, row: Mapping[str, Any] | None, *, can_look_up: bool) -> None:
        """Check what the journal has of a job in the end."""
        times, known = len(self.executed[job.number]), row and row["status"]
        if known in {"unknown", "running"}:
            if can_look_up or known == "running":
                self._add("unknown", f"{job.key}: {known} in the end, executed {times} times")
            else:
                self.counts["cannot tell"] += 1
        elif self.rows_may_be_lost and (row is None or row["released"]):
            # It was begun, or begun anew, after the copy was made; that is found out when its key is used again.
            self.counts["lost rows"] += bool(times)
        elif bool(times) != (known not in {None, "rejected"}):
            self._add("journal", f"{job.key}: the journal has {known}, and it was executed {times} times")

    def check_order(self, job: Job, row: Mapping[str, Any], order: Any, now: float | None = None) -> None:
        """Check what is said of an order, against the exchange's own; `now`: a client is told it at this time.

        An order that is called open may be over by now; what is called final is.
        """
        wrong = [
            f"{name} {row[name]}, at the exchange {there}"
            for name, there in (("side", order.side), ("exchange_order_id", order.id), ("key", job.key))
            if row[name] != there
        ]
        if row["status"] in FINAL:
            if order.status == "open":
                wrong.append(f"status {row['status']}, at the exchange open")
            elif row["filled"] is not None and Decimal(row["filled"]) != order.filled:
                wrong.append(f"filled {row['filled']}, at the exchange {order.filled}")
            elif (row["status"] == "filled") != (order.status == "filled"):
                wrong.append(f"status {row['status']}, at the exchange {order.status}")
        elif row["status"] != "open":
            wrong.append(f"status {row['status']}, at the exchange {order.status}")
        if wrong:
            words = f"{job.key}: {'; '.join(wrong)}"
            self._add("journal" if now is None else "lie", words if now is None else f"told at {now:.3f} of {words}")

    def check_canceled(self, job: Job, order: Any) -> None:
        """Check that an order is over at the exchange after a client's cancel was answered with it."""
        if order.status == "open":
            self._add("lie", f"{job.key}: canceled, and still open at the exchange")

    def check_nonce(self, nonce: int, now: float) -> None:
        """Check that a nonce which is sent just now is above all earlier ones: the exchange would refuse it."""
        if nonce <= self.nonce:
            self._add("nonce", f"nonce {nonce} is sent at {now:.3f} after {self.nonce}")
        self.nonce = max(self.nonce, nonce)

    def add_mistake(self, words: str) -> None:
        """Add an error that nothing here should cause."""
        self._add("mistake", words)

    def _is_first(self, call: Call) -> bool:
        """Return whether no other call with its key came before, or at the same time."""
        return all(other is call for other in self.calls[call.job])

    def _add(self, kind: str, words: str) -> None:
        self.counts[kind] += 1
        self.problems.append(f"{kind}: {words}")
