"""What goes wrong in a seed: drawn from it at the beginning, or message by message."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

#: What may happen to a message between two programs -> what it means.
MESSAGE_FAULTS = {
    "refused": "no connection: certainly not received",
    "request_lost": "not received; the connection is reset, or nothing comes until the time is over",
    "answer_lost": "executed; the connection is reset, or nothing comes until the time is over",
    "cut": "executed, and the connection ends in the middle of the answer",
    "late": "received only after many seconds",
    "twice": "received twice; one of the two answers comes back",
    "swapped": "received only after the next message to the same receiver",
    "html": "not received; a proxy answers 502 with a page of HTML",
    "html_after": "executed; a proxy answers 502 with a page of HTML",
}
#: What an exchange may answer in place of doing what it is asked.
EXCHANGE_FAULTS = {
    "rate_limit": "refused for a rate limit",
    "nonce": "refused as an invalid nonce",
    "maintenance": "refused during maintenance",
}
#: What may happen to a machine.
HOST_FAULTS = {
    "kill": "the server process is killed, and started again",
    "server_stands_still": "no task of the server runs for some seconds",
    "exchange_stands_still": "the exchange does nothing for some seconds, and then all that arrived meanwhile",
    "older_copy": "the server is killed, and its data base replaced by a copy that was made some seconds before",
    "disk_full": "no commit succeeds for some seconds",
    "sessions_end": "PostgreSQL ends all sessions of one server, as when the line between them breaks",
    "clock_jump": "the server's wall clock jumps, and is set right later",
}
#: What may happen where several servers share one PostgreSQL; each time to one of them.
_OF_MANY = {
    "kill": 0.6,
    "server_stands_still": 0.5,
    "exchange_stands_still": 0.3,
    "sessions_end": 0.3,
    "clock_jump": 0.3,
}

#: What ends with another start of the server.
RESTARTS = ("kill", "older_copy")
#: A server that starts with a clock which is ahead by more than this, in seconds, takes a request to Bitstamp for too
#: old to arrive which may be executed still: known, and left out (2026-11-27). A process that runs on is not deceived.
MOST_AHEAD = 40.0
EXCHANGES = ("kraken", "bitstamp", "backpack")


@dataclass(frozen=True)
class HostFault:
    kind: str
    #: When it begins, and how long it lasts.
    at: float
    seconds: float
    #: Of a clock: by how much it jumps, in seconds. Of a kill: after how many points of the server. Of an older copy:
    #: after how many seconds it takes the data base's place.
    amount: float = 0.0
    #: Which of several servers it happens to.
    server: int = 0


@dataclass(frozen=True)
class Plan:
    """What a seed is about."""

    seed: int
    exchange: str
    orders: int
    clients: int
    #: Seconds after which nothing goes wrong any more.
    faults_end: float
    #: The share of the messages to the server, and to the exchange, that meet a fault; and the kinds of these.
    server_share: float
    exchange_share: float
    server_kinds: tuple[str, ...]
    exchange_kinds: tuple[str, ...]
    host_faults: tuple[HostFault, ...] = field(default=())
    #: Whether the exchange enforces its rate limit; how often it calls a new market order open; how many seconds its
    #: history lags behind.
    counts_calls: bool = False
    closing_reads: int = 0
    history_lag: float = 0.0
    #: How often the market moves.
    price_moves: int = 0
    #: Servers on one data base.
    servers: int = 1


def draw_plan(seed: int, servers: int = 1) -> Plan:
    """Return the plan of a seed, for so many servers on one data base."""
    plan = _draw_plan(seed)
    if servers == 1:
        return plan
    rng = Random(f"servers {seed}")
    return replace(plan, servers=servers, host_faults=tuple(_draw_faults_of_many(rng, plan, servers)))


def _draw_plan(seed: int) -> Plan:
    rng = Random(f"plan {seed}")
    faults_end = rng.uniform(5.0, 40.0)
    exchange_kinds = [kind for kind in (*MESSAGE_FAULTS, *EXCHANGE_FAULTS) if rng.random() < 0.5]
    server_kinds = [kind for kind in MESSAGE_FAULTS if rng.random() < 0.5]
    exchange = rng.choice(EXCHANGES)
    return Plan(
        seed=seed,
        exchange=exchange,
        orders=rng.randint(2, 9),
        clients=rng.randint(1, 4),
        faults_end=faults_end,
        server_share=rng.choice((0.0, 0.1, 0.3, 0.6)),
        exchange_share=rng.choice((0.0, 0.1, 0.3, 0.6)),
        server_kinds=tuple(server_kinds),
        exchange_kinds=tuple(exchange_kinds),
        host_faults=tuple(_draw_host_faults(rng, exchange, faults_end)),
        counts_calls=rng.random() < 0.5,
        closing_reads=rng.choice((0, 0, 1, 5)),
        history_lag=rng.choice((0.0, 0.0, 2.0)),
        price_moves=rng.choice((0, 0, 2, 6)),
    )


#: How likely one more fault of a kind is.
_LIKELY = {"kill": 0.5, "older_copy": 0.1}


def _draw_host_faults(rng: Random, exchange: str, faults_end: float) -> list[HostFault]:
    faults = []
    for kind in (kind for kind in HOST_FAULTS if kind != "sessions_end"):
        while rng.random() < _LIKELY.get(kind, 0.3):
            at = rng.uniform(0.0, 0.9 * faults_end)
            if kind == "kill":
                faults.append(HostFault(kind, at, rng.uniform(0.2, 8.0), rng.randint(1, 60)))
            elif kind == "clock_jump":
                size = rng.choice((1.0, 30.0, 300.0)) * rng.uniform(-1.0, 1.0)
                if exchange == "bitstamp" and any(fault.kind in RESTARTS for fault in faults):
                    size = min(size, MOST_AHEAD)
                faults.append(HostFault(kind, at, rng.uniform(1.0, faults_end), size))
            elif kind == "older_copy":
                faults.append(HostFault(kind, at, rng.uniform(0.2, 8.0), rng.uniform(0.0, 0.5 * faults_end)))
            elif kind == "disk_full":
                faults.append(HostFault(kind, at, rng.uniform(0.01, 5.0)))
            else:
                # A message that an exchange reads this late still comes within the time that the reconciler allows.
                faults.append(HostFault(kind, at, rng.uniform(0.5, 15.0 if kind.startswith("exchange") else 35.0)))
    return faults


def _draw_faults_of_many(rng: Random, plan: Plan, servers: int) -> list[HostFault]:
    """Return faults for servers that share PostgreSQL; where each statement is a point, a kill comes after more."""
    faults = []
    for kind, likely in _OF_MANY.items():
        while rng.random() < likely:
            at, server = rng.uniform(0.0, 0.9 * plan.faults_end), rng.randrange(servers)
            seconds, amount = rng.uniform(0.5, 35.0 if kind == "server_stands_still" else 15.0), 0.0
            if kind == "kill":
                seconds, amount = rng.uniform(0.2, 20.0), rng.choice((10, 100, 500)) * rng.uniform(0.1, 1.0)
            elif kind == "clock_jump":
                seconds, amount = rng.uniform(1.0, plan.faults_end), rng.choice((1.0, 30.0)) * rng.uniform(-1.0, 1.0)
            faults.append(HostFault(kind, at, seconds, amount, server))
    return faults
