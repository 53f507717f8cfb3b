"""The network between clients, server and exchange: it carries messages, late, twice or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from .scheduler import Host, Scheduler, Waiter

BAD_GATEWAY = b"<html><body><h1>502 Bad Gateway</h1></body></html>\n"
#: How long a message is held for another one to overtake it, in seconds.
_LONGEST_HELD = 6.0


class Answer(NamedTuple):
    """An answer as it arrives: status 0, the connection was reset before a complete one came."""

    status: int
    headers: dict[str, str]
    body: bytes


RESET = Answer(0, {}, b"")
#: Nobody listens there.
REFUSED = Answer(-1, {}, b"")
Reply = Callable[[Answer], None]


class Receiver(Protocol):
    """A program that gets messages."""

    name: str
    host: Host

    def receive(self, request: Any, reply: Reply) -> None:
        """Begin with a request; `reply` is called with its answer, at once or later, or never."""


@dataclass(eq=False)
class _Call:
    """What the sender of a request waits for."""

    waiter: Waiter
    answer: Answer | None = None


@dataclass
class Link:
    """The way to one receiver: which share of its messages meets a fault, and of which kinds."""

    receiver: Receiver
    share: float
    kinds: tuple[str, ...]
    #: The longest that a late message takes, in seconds.
    latest: float
    #: Whether a request may be delivered twice: not where an exchange has no means to notice.
    may_repeat: Callable[[Any], bool] = lambda _request: True
    #: A proxy before the receiver sends again what got no answer, and passes on the answer that came then.
    has_proxy: bool = False
    #: Answers in place of the receiver, by the kinds of faults that only this receiver has.
    stand_ins: dict[str, Callable[[Any], Answer]] = field(default_factory=dict)
    held: list[Callable[[], None]] = field(default_factory=list)


class Network:
    """Carries the requests of a seed. `log` gets a line for each thing that happens to a message."""

    def __init__(
        self, scheduler: Scheduler, rng: Random, log: Callable[[str], None], count: Callable[[str], None]
    ) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self._log = log
        self._count = count
        self._links: dict[str, Link] = {}
        self.faults_end = 0.0
        #: How many requests have not arrived yet.
        self.under_way = 0

    def connect(self, hostname: str, link: Link) -> None:
        self._links[hostname] = link

    def send(self, request: Any, seconds: float) -> Answer | None:
        """Send a request and return what comes back within `seconds`; None: nothing did."""
        link = self._links[urlsplit(request.url).hostname or ""]
        call = _Call(self._scheduler.waiter())
        kind = self._draw_fault(link, request)
        self._log(f"-> {link.receiver.name} {request.method} {urlsplit(request.url).path} {kind or ''}")
        self._dispatch(link, request, kind, lambda answer: self._answer(link, call, answer))
        if call.answer is None:
            self._scheduler.wait(seconds)
        return call.answer

    def _draw_fault(self, link: Link, request: Any) -> str | None:
        if self._scheduler.now >= self.faults_end or not link.kinds or self._rng.random() >= link.share:
            return None
        kind = self._rng.choice(link.kinds)
        if kind == "twice" and not link.may_repeat(request):
            return None
        self._count(kind)
        return kind

    def _dispatch(self, link: Link, request: Any, kind: str | None, reply: Reply) -> None:
        rng, at = self._rng, self._scheduler.at
        bad_gateway = Answer(502, {"Content-Type": "text/html"}, BAD_GATEWAY)

        def deliver(answered: Reply = reply, after: float = 0.0) -> None:
            self.under_way += 1

            def arrive() -> None:
                self.under_way -= 1
                self._log(f"{link.receiver.name} receives {request.method} {urlsplit(request.url).path}")
                # A message that goes wrong is in the hands of a proxy, which answers when it cannot connect.
                link.receiver.receive(
                    request, lambda answer: answered(bad_gateway if kind and answer is REFUSED else answer)
                )
                for release in link.held:
                    at(0.0, release, link.receiver.host)
                link.held.clear()

            at(after + self._latency(), arrive, link.receiver.host)

        def ends_somehow(_answer: Answer | None = None) -> None:
            """Reset the connection, or let the sender wait for the end of its time."""
            if rng.random() < 0.5:
                at(self._latency(), lambda: reply(RESET))

        if kind is None:
            deliver()
        elif kind == "refused":
            at(self._latency(), lambda: reply(REFUSED))
        elif kind == "request_lost":
            ends_somehow()
        elif kind == "answer_lost":
            deliver(ends_somehow)
        elif kind == "cut":
            deliver(lambda _answer: reply(RESET))
        elif kind == "late":
            deliver(after=rng.uniform(0.5, link.latest))
        elif kind == "twice":
            answers = [lambda _answer: None, reply]
            if not link.has_proxy:
                rng.shuffle(answers)
            deliver(answers[0])
            deliver(answers[1], after=rng.choice((0.0, 0.1, 3.0)) * rng.random())
        elif kind == "swapped":
            released: list[bool] = []

            def release() -> None:
                if not released:
                    released.append(True)
                    deliver()

            link.held.append(release)
            at(_LONGEST_HELD, release)
        elif kind == "html":
            at(self._latency(), lambda: reply(bad_gateway))
        elif kind == "html_after":
            deliver(lambda _answer: reply(bad_gateway))
        else:
            at(self._latency(), lambda: reply(link.stand_ins[kind](request)))

    def _answer(self, link: Link, call: _Call, answer: Answer) -> None:
        """Let an answer travel back; the sender may have gone on, or away."""

        def arrive() -> None:
            if call.answer is None:
                call.answer = answer
                self._log(f"<- {link.receiver.name} {answer.status} {answer.body[:300]!r}")
                self._scheduler.wake(call.waiter)

        self._scheduler.at(self._latency(), arrive)

    def _latency(self) -> float:
        return self._rng.uniform(0.001, 0.05)
