"""What a call of the client costs: `python -m tests.benchmarks.client` (a minute and a half).

CPU time of the client's process per call, as a ratio to `requests.Session` making the same call and decoding it. Every
variant is a process of its own; a round is a short batch of each, in another order each time; a ratio is taken within a
round, and the median over the rounds is printed. The exit status is 1 when a limit is exceeded.

`--against DIR` adds the client of another checkout of this project to the same rounds, and prints the ratio to it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal

from tests.support.raw_server import JSON, Connection, Server

SCENARIOS = ("list_exchanges", "exchange_rates", "balance", "buy")
LIMIT = 0.20

EXCHANGES = [
    {"id": name, "name": name.title(), "description": f"{name} spot"} for name in ("kraken", "bitstamp", "paper")
]
RATE = {"buy": "64251.10000000", "sell": "64251.00000000", "time": "2026-11-20T10:00:00Z"}
ORDER = {"id": 41, "side": "buy", "type": "market", "currency": "USD", "asset": "BTC", "amount": "0.1", "price": None}
ORDER |= {"cost": None, "status": "filled", "filled": "0.1", "average": "64251.10000000", "spent": "6425.11000000"}
ORDER |= {"fee": "16.70528600", "fee_currency": "USD", "created": "2026-11-20T10:00:00Z", "exchange_order_id": "OQCLML"}
ANSWERS = {
    "/list_exchanges/": EXCHANGES,
    "/exchange_rates/": [{"exchange": row["id"], **RATE} for row in EXCHANGES],
    "/exchanges/1/balance": {"EUR": "1024.55310000", "USD": "0.00", "BTC": "0.123456789012345678", "ETH": "3.25"},
    "/exchanges/1": {"id": 1, "exchange": "kraken", "enabled": True, "available": True},
}
BODIES = {path: json.dumps(document) for path, document in ANSWERS.items()}


def answer(connection: Connection) -> None:
    request, headers = connection.request, ("Server: stub", "Date: Fri, 20 Nov 2026 10:00:00 GMT")
    order = json.dumps({**ORDER, "key": request.headers.get("idempotency-key")})
    body = BODIES[request.path.partition("?")[0]] if request.method == "GET" else order
    connection.answer(body, "200 OK", JSON, *headers, "Connection: keep-alive")


# --- the processes ----------------------------------------------------------------------------------------------------


def requests_session(base: str) -> dict[str, Callable[[], object]]:
    import requests

    session = requests.Session()
    auth = ("user", "secret")
    pair = {"from": "USD", "to": "BTC"}
    order = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
    return {
        "list_exchanges": lambda: session.get(f"{base}/list_exchanges/").json(),
        "exchange_rates": lambda: session.get(f"{base}/exchange_rates/", params=pair).json(),
        "balance": lambda: session.get(f"{base}/exchanges/1/balance", auth=auth).json(),
        "buy": lambda: session.post(f"{base}/exchanges/1/buy", data=order, auth=auth).json(),
    }


def bitmm(base: str) -> dict[str, Callable[[], object]]:
    from bitmm.xwrap.client import XWrap

    xwrap = XWrap(base)
    backend = xwrap.backend(1, "user", "secret")
    return {
        "list_exchanges": xwrap.list_exchanges,
        "exchange_rates": lambda: xwrap.exchange_rates("USD", "BTC"),
        "balance": backend.balance,
        "buy": lambda: backend.buy("USD", "BTC", Decimal("0.1")),
    }


def work(variant: str, base: str) -> None:
    """Answers each line `scenario calls` with the CPU seconds of one call."""
    calls = {"requests": requests_session, "bitmm": bitmm}[variant](base)
    for line in sys.stdin:
        scenario, count = line.split()
        call = calls[scenario]
        for _ in range(20):
            call()
        start = time.process_time()
        for _ in range(int(count)):
            call()
        print((time.process_time() - start) / int(count), flush=True)


def serve() -> None:
    server = Server(answer)
    server.requests = Forgetful()
    print(server.url, flush=True)
    sys.stdin.read()
    server.close()


class Forgetful(list):
    def append(self, _item: object) -> None:
        """A benchmark makes more requests than one wants to remember."""


@contextmanager
def process(
    *arguments: str, variables: int | None = None, checkout: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.benchmarks.client", *arguments]
    environ = dict(os.environ)
    if variables is not None:
        environ = {"PATH": os.environ["PATH"]}
        environ |= {f"SOME_VARIABLE_{number}": "some value" for number in range(variables - 1)}
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=checkout
    )
    try:
        yield child
    finally:
        child.stdin.close()
        child.wait(10)
        child.stdout.close()


def ask(child: subprocess.Popen[str], line: str) -> float:
    child.stdin.write(f"{line}\n")
    child.stdin.flush()
    return float(child.stdout.readline())


# --- the measurements -------------------------------------------------------------------------------------------------


OTHER = "the other checkout"


def measure_calls(rounds: int, calls: int, against: str | None) -> dict[str, dict[tuple[str, int], list[float]]]:
    """CPU seconds per call of each scenario, variant and number of environment variables."""
    variants = [("requests", 30), ("bitmm", 30), ("requests", 8), ("bitmm", 8), ("requests", 100), ("bitmm", 100)]
    if against:
        variants.append((OTHER, 30))
    results: dict[str, dict[tuple[str, int], list[float]]] = {
        scenario: {variant: [] for variant in variants} for scenario in SCENARIOS
    }
    with ExitStack() as stack:
        base = stack.enter_context(process("serve")).stdout.readline().strip()
        children = {
            (name, variables): stack.enter_context(
                process("work", "bitmm", base, variables=variables, checkout=against)
                if name == OTHER
                else process("work", name, base, variables=variables)
            )
            for name, variables in variants
        }
        turns = [(scenario, variant) for scenario in SCENARIOS for variant in variants]
        for _ in range(rounds):
            random.shuffle(turns)
            for scenario, variant in turns:
                results[scenario][variant].append(ask(children[variant], f"{scenario} {calls}"))
    return results


IMPORT = """
import time, sys
start = time.perf_counter()
import {module}
took = time.perf_counter() - start
try:
    with open("/proc/self/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
except OSError:
    peak = 0
print(took, peak)
"""


def measure_imports(rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds and peak KiB of a fresh interpreter after an import."""
    results: dict[str, tuple[list[float], list[float]]] = {"requests": ([], []), "bitmm.xwrap.client": ([], [])}
    for turn in range(rounds):
        for module in sorted(results, reverse=bool(turn % 2)):
            command = [sys.executable, "-c", IMPORT.format(module=module)]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            for values, value in zip(results[module], output, strict=True):
                values.append(float(value))
    return results


def ratio(above: list[float], below: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--calls", type=int, default=150, help="calls of one batch")
    parser.add_argument("--against", metavar="DIR", help="another checkout of this project, to compare with")
    options = parser.parse_args()
    bad = False
    print(
        f"{options.rounds} rounds of {options.calls} calls; Python {sys.version.split()[0]}; CPU time of one process\n"
    )
    print(
        "| call | requests.Session, us | bitmm, us | ratio (limit 0.20) | 100 to 8 variables (limit 1.05; requests) |"
    )
    print("|---|---|---|---|---|")
    compared = {}
    for scenario, times in measure_calls(options.rounds, options.calls, options.against).items():
        session, ours = times["requests", 30], times["bitmm", 30]
        share = ratio(ours, session)
        flat, theirs = (ratio(times[name, 100], times[name, 8]) for name in ("bitmm", "requests"))
        bad |= share > LIMIT or flat > 1.05
        us = [f"{statistics.median(values) * 1e6:.0f}" for values in (session, ours)]
        print(f"| `{scenario}` | {us[0]} | {us[1]} | **{share:.2f}** | **{flat:.2f}** ({theirs:.2f}) |", flush=True)
        if options.against:
            compared[scenario] = ratio(ours, times[OTHER, 30])
    for scenario, share in compared.items():
        print(f"{scenario}: {share:.2f} of the CPU time of the other checkout")
    imports = measure_imports(options.rounds)
    (theirs_s, theirs_kib), (ours_s, ours_kib) = imports["requests"], imports["bitmm.xwrap.client"]
    share = ratio(ours_s, theirs_s)
    more = statistics.median(ours_kib) / 1024 - statistics.median(theirs_kib) / 1024
    bad |= share > 1.10 or more > 2
    print(
        f"\n`import bitmm.xwrap.client`: {share:.2f} of the time of `import requests` (limit 1.10), "
        f"{more:+.1f} MiB (limit +2)"
    )
    return int(bad)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["work", variant, base]:
            work(variant, base)
        case _:
            sys.exit(main())
