"""The faults that a test plans: between the client and its server, and between the server and the paper exchange."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ..codes import ErrorCode
from ..exchanges.errors import Busy, ExchangeError, Refused, Unknown, Unsupported
from .calls import CALLS, EXCHANGE_CALLS, KEYED_CALLS, calls_of, check_name
from .exchanges.messages import Request

__all__ = ["REFUSALS", "Faults", "PlannedFault"]

#: The codes with which an exchange refuses, and whether the same call may work later.
REFUSALS: dict[str, bool] = {
    **dict.fromkeys(("exchange_unavailable", "invalid_nonce"), True),
    **dict.fromkeys(
        (
            *("address_not_registered", "amount_min", "amount_step", "book_exhausted", "cost_min"),
            *("exchange_key_refused", "exchange_refused", "insufficient_funds", "invalid_address", "invalid_amount"),
            *("invalid_price", "invalid_request", "network_required", "order_not_found", "order_not_open"),
            *("permission_denied", "price_required", "price_step", "tag_required", "unknown_asset", "unknown_market"),
            *("unsupported", "would_take"),
        ),
        False,
    ),
}
#: So often the client asks for what became of an order before it raises OutcomeUnknown.
_LOOK_UPS = 3
_UNKNOWN_CALLS = ("buy", "sell", "send_to_address")

Kind = Literal["lose_answer", "restart", "slow", "refuse", "rate_limit", "unknown"]
_ON_THE_WAY: tuple[Kind, ...] = ("lose_answer", "restart", "slow")
_AT_THE_EXCHANGE: tuple[Kind, ...] = ("refuse", "rate_limit", "unknown")


def _no_answer() -> ExchangeError:
    return Unknown("no answer from the paper exchange, as the test wants it")


@dataclass(slots=True)
class PlannedFault:
    """What happens to the next `left` calls of a name."""

    kind: Kind
    call: str
    left: int
    optional: bool
    #: Of "slow": for how long the answer is held back.
    seconds: float = 0.0
    #: Of "lose_answer": the client may find out by the key what became of the call.
    recover: bool = True
    #: Of "unknown": the exchange executed it.
    executed: bool = True
    #: Returns what the exchange raises.
    make_error: Callable[[], ExchangeError] = _no_answer

    def __str__(self) -> str:
        often = "" if self.left == 1 else f" {self.left} times more"
        missing = "the paper exchange got no such call" if self.kind in _AT_THE_EXCHANGE else "no such call was made"
        return f"faults.{self.kind}({self.call!r}) was planned{often}, and {missing}"


class Faults:
    """The faults of one test; each is for the next call of a name, or for the next `times` ones.

    Calls are named as in the client: "buy", "balance", "cancel_all". One that was planned and did not happen fails the
    test at its end, unless it is `optional`. Raises ValueError for a name that there is not.
    """

    def __init__(
        self, down: Callable[[float | None], None], up: Callable[[], None], resolve: Callable[[float], None]
    ) -> None:
        """Make the faults of a test, of which there are none yet.

        `down` makes the server unreachable, for so many seconds or until `up` is called. `resolve` waits until the
        server knows all outcomes.
        """
        self._down, self._up, self._wait_until_known = down, up, resolve
        self._lock = threading.Lock()
        self._planned: list[PlannedFault] = []
        #: The keys whose look-ups are lost, and how often.
        self._lost_look_ups: dict[str, int] = {}
        #: The client order ids that the exchange does not answer about, until `resolve`.
        self._hidden: set[str] = set()

    def lose_answer(self, call: str, *, times: int = 1, recover: bool = True, optional: bool = False) -> None:
        """Lose the answer on its way to the client: the server has done what it was asked for.

        The client finds out by itself what became of an order, by its key. With `recover=False` that is lost, too, so
        the client raises OutcomeUnknown; the next time the key is asked for, it is answered.
        """
        if not recover:
            check_name(call, KEYED_CALLS, "call whose outcome the client looks up by its key")
        self._plan(PlannedFault("lose_answer", check_name(call, (*CALLS,), "call"), times, optional, recover=recover))

    def restart(self, call: str, *, times: int = 1, optional: bool = False) -> None:
        """Start the server anew in the middle of the call: after it did what it was asked for, before it answered."""
        self._plan(PlannedFault("restart", check_name(call, (*CALLS,), "call"), times, optional))

    def slow(self, call: str, *, seconds: float, times: int = 1, optional: bool = False) -> None:
        """Let the client wait so many seconds for the answer; the server has done what it was asked for before."""
        if seconds <= 0:
            raise ValueError(f"seconds is {seconds}; it must be above 0")
        self._plan(PlannedFault("slow", check_name(call, (*CALLS,), "call"), times, optional, seconds=seconds))

    @contextmanager
    def _until_up(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.up()

    def down(self, seconds: float | None = None) -> AbstractContextManager[None]:
        """Let no connection to the server be made, and end those that there are, until `up` or for so many seconds.

        With `with faults.down():` it is until the end of the block. That nobody tried to connect fails no test.
        """
        self._down(seconds)
        return self._until_up()

    def up(self) -> None:
        """Let the server be reached again."""
        self._up()

    def refuse(
        self,
        call: str,
        *,
        code: ErrorCode = "exchange_refused",
        reason: str = "",
        times: int = 1,
        optional: bool = False,
    ) -> None:
        """Let the paper exchange refuse the call, with one of the codes `REFUSALS`; nothing is executed."""
        check_name(code, (*REFUSALS,), "code with which an exchange refuses")
        words = reason or f"the paper exchange refuses this: {code}, as the test wants it"

        def make_error() -> ExchangeError:
            return Unsupported(words) if code == "unsupported" else Refused(words, code=code, retryable=REFUSALS[code])

        self._plan_at_exchange("refuse", call, times, optional, make_error)

    def rate_limit(self, call: str, *, retry_after: int = 1, times: int = 1, optional: bool = False) -> None:
        """Let the paper exchange refuse the call because of its limit; `retry_after`: the seconds that it asks for."""
        words = "the paper exchange's rate limit is reached, as the test wants it"
        make_error = partial(Busy, words, retry_after=retry_after)
        self._plan_at_exchange("rate_limit", call, times, optional, make_error)

    def unknown(self, call: str, *, executed: bool = True, times: int = 1, optional: bool = False) -> None:
        """Lose the paper exchange's answer on its way to the server, which then does not know the outcome.

        It stays unknown until `resolve`. `executed`: the exchange got it; with False it was lost before.
        """
        check_name(call, _UNKNOWN_CALLS, "call whose outcome the server can leave unknown on paper")
        self._plan(PlannedFault("unknown", call, times, optional, executed=executed))

    def resolve(self, timeout: float = 10.0) -> None:
        """Let the paper exchange say what became of each unknown order and send, and wait until the server knows.

        Raises TimeoutError after so many seconds.
        """
        with self._lock:
            self._hidden.clear()
        self._wait_until_known(timeout)

    def unused(self) -> list[str]:
        """Return a line for each fault that was planned, did not happen, and is not optional."""
        with self._lock:
            return [str(fault) for fault in self._planned if not fault.optional]

    def clear(self) -> None:
        """Forget all faults, and let the exchange say what it knows."""
        with self._lock:
            self._planned.clear()
            self._lost_look_ups.clear()
            self._hidden.clear()

    def pop_for_request(self, request: Request) -> PlannedFault | None:
        """Return the fault that this request of the client meets now."""
        with self._lock:
            key = request.args.get("key", "") if request.method == "GET" else ""
            if self._lost_look_ups.get(key):
                self._lost_look_ups[key] -= 1
                return PlannedFault("lose_answer", "order", 0, optional=True)
            fault = self._pop(_ON_THE_WAY, calls_of(request)) if self._planned else None
            if fault is not None and not fault.recover:
                self._lost_look_ups[request.headers["Idempotency-Key"] or ""] = _LOOK_UPS
            return fault

    def pop_for_exchange(self, *calls: str, client_id: str | None = None) -> PlannedFault | None:
        """Return the fault that the paper exchange has at one of these calls now; `client_id`: of the order or send."""
        with self._lock:
            fault = self._pop(_AT_THE_EXCHANGE, {*calls})
            if fault is not None and fault.kind == "unknown" and client_id is not None:
                self._hidden.add(client_id)
            return fault

    def is_hidden(self, client_id: str) -> bool:
        """Return whether the paper exchange does not say what became of an order or a send."""
        with self._lock:
            return client_id in self._hidden

    def _plan_at_exchange(
        self, kind: Kind, call: str, times: int, optional: bool, make_error: Callable[[], ExchangeError]
    ) -> None:
        check_name(call, EXCHANGE_CALLS, "call at which the paper exchange can fail")
        self._plan(PlannedFault(kind, call, times, optional, make_error=make_error))

    def _plan(self, fault: PlannedFault) -> None:
        if fault.left < 1:
            raise ValueError(f"times is {fault.left}; it must be at least 1")
        with self._lock:
            self._planned.append(fault)

    def _pop(self, kinds: tuple[Kind, ...], calls: set[str]) -> PlannedFault | None:
        for fault in self._planned:
            if fault.kind in kinds and fault.call in calls:
                fault.left -= 1
                if not fault.left:
                    self._planned.remove(fault)
                return fault
        return None
