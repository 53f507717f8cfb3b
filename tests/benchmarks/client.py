"""What a call of the client costs: `python -m tests.benchmarks.client` (two minutes).

CPU time of the client's process per call, as a ratio to `requests.Session` making the same call and decoding it; beside
it the same ratio of urllib3 and of httpx, where that is installed. Every variant is a process of its own; a round is a
short batch of each, in another order each time; a ratio is taken within a round, and the median over the rounds is
printed, with the quartiles. The exit status is 1 when a limit is exceeded.

`--tls` makes all calls over TLS. `--against DIR` adds the client of another checkout of this project to the same
rounds, and prints the ratio to it.
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
from importlib.util import find_spec

from tests.support.raw_server import JSON, TLS, Connection, Server

from .ratios import ratio_of

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


AUTH = ("user", "secret")
PAIR = {"from": "USD", "to": "BTC"}
FORM = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
AUTHORITY = str(TLS / "authority.pem")


def requests_session(base: str) -> dict[str, Callable[[], object]]:
    import requests

    session = requests.Session()
    session.verify = AUTHORITY
    return {
        "list_exchanges": lambda: session.get(f"{base}/list_exchanges/").json(),
        "exchange_rates": lambda: session.get(f"{base}/exchange_rates/", params=PAIR).json(),
        "balance": lambda: session.get(f"{base}/exchanges/1/balance", auth=AUTH).json(),
        "buy": lambda: session.post(f"{base}/exchanges/1/buy", data=FORM, auth=AUTH).json(),
    }


def urllib3_pool(base: str) -> dict[str, Callable[[], object]]:
    import urllib3

    pool = urllib3.PoolManager(ca_certs=AUTHORITY)
    head = urllib3.make_headers(basic_auth=":".join(AUTH))
    return {
        "list_exchanges": lambda: pool.request("GET", f"{base}/list_exchanges/").json(),
        "exchange_rates": lambda: pool.request("GET", f"{base}/exchange_rates/", fields=PAIR).json(),
        "balance": lambda: pool.request("GET", f"{base}/exchanges/1/balance", headers=head).json(),
        "buy": lambda: pool.request(
            "POST", f"{base}/exchanges/1/buy", fields=FORM, headers=head, encode_multipart=False
        ).json(),
    }


def httpx_client(base: str) -> dict[str, Callable[[], object]]:
    import ssl

    import httpx

    client = httpx.Client(verify=ssl.create_default_context(cafile=AUTHORITY))
    return {
        "list_exchanges": lambda: client.get(f"{base}/list_exchanges/").json(),
        "exchange_rates": lambda: client.get(f"{base}/exchange_rates/", params=PAIR).json(),
        "balance": lambda: client.get(f"{base}/exchanges/1/balance", auth=AUTH).json(),
        "buy": lambda: client.post(f"{base}/exchanges/1/buy", data=FORM, auth=AUTH).json(),
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


VARIANTS = {"requests": requests_session, "urllib3": urllib3_pool, "httpx": httpx_client, "bitmm": bitmm}
#: Those that are looked at beside ours.
PEERS = [name for name in ("urllib3", "httpx") if find_spec(name)]


def work(variant: str, base: str) -> None:
    """Answers each line `scenario calls` with the CPU seconds of one call."""
    calls = VARIANTS[variant](base)
    for line in sys.stdin:
        scenario, count = line.split()
        call = calls[scenario]
        for _ in range(20):
            call()
        start = time.process_time()
        for _ in range(int(count)):
            call()
        print((time.process_time() - start) / int(count), flush=True)


def serve(certificate: str | None) -> None:
    server = Server(answer, certificate=certificate)
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
        environ = {"PATH": os.environ["PATH"], "REQUESTS_CA_BUNDLE": AUTHORITY}
        environ |= {f"SOME_VARIABLE_{number}": "some value" for number in range(variables - len(environ))}
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


def measure_calls(
    rounds: int, calls: int, against: str | None, *, tls: bool
) -> dict[str, dict[tuple[str, int], list[float]]]:
    """CPU seconds per call of each scenario, variant and number of environment variables."""
    variants = [(name, variables) for name in ("requests", "bitmm") for variables in (30, 8, 100)]
    variants += [(name, 30) for name in PEERS]
    if against:
        variants.append((OTHER, 30))
    results: dict[str, dict[tuple[str, int], list[float]]] = {
        scenario: {variant: [] for variant in variants} for scenario in SCENARIOS
    }
    with ExitStack() as stack:
        base = stack.enter_context(process("serve", *["good"] * tls)).stdout.readline().strip()
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--calls", type=int, default=150, help="calls of one batch")
    parser.add_argument("--tls", action="store_true", help="make all calls over TLS")
    parser.add_argument("--against", metavar="DIR", help="another checkout of this project, to compare with")
    options = parser.parse_args()
    bad = False
    over = " over TLS" if options.tls else ""
    print(
        f"{options.rounds} rounds of {options.calls} calls{over}; Python {sys.version.split()[0]}; CPU of one process"
    )
    print("ratios to requests.Session: medians of the rounds and their quartiles\n")
    titles = ["call", "requests.Session, us", "bitmm, us", f"bitmm (limit {LIMIT:.2f})", *PEERS]
    titles.append("100 to 8 environment variables (limit 1.05)")
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    compared = {}
    measured = measure_calls(options.rounds, options.calls, options.against, tls=options.tls)
    for scenario, times in measured.items():
        session, ours = times["requests", 30], times["bitmm", 30]
        share, flat = ratio_of(ours, session), ratio_of(times["bitmm", 100], times["bitmm", 8])
        bad |= share.median > LIMIT or flat.median > 1.05
        cells = [f"`{scenario}`", *(f"{statistics.median(values) * 1e6:.0f}" for values in (session, ours))]
        cells += [f"**{share}**", *(str(ratio_of(times[name, 30], session)) for name in PEERS)]
        of_requests = ratio_of(times["requests", 100], times["requests", 8])
        print(f"| {' | '.join([*cells, f'{flat}; requests {of_requests}'])} |", flush=True)
        if options.against:
            compared[scenario] = ratio_of(ours, times[OTHER, 30])
    for scenario, share in compared.items():
        print(f"{scenario}: {share} of the CPU time of the other checkout")
    imports = measure_imports(options.rounds)
    (theirs_s, theirs_kib), (ours_s, ours_kib) = imports["requests"], imports["bitmm.xwrap.client"]
    share = ratio_of(ours_s, theirs_s)
    more = statistics.median(ours_kib) / 1024 - statistics.median(theirs_kib) / 1024
    bad |= share.median > 1.10 or more > 2
    print(
        f"\n`import bitmm.xwrap.client`: {share} of the time of `import requests` (limit 1.10), "
        f"{more:+.1f} MiB (limit +2)"
    )
    return int(bad)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", *certificate]:
            serve(*certificate or [None])
        case ["work", variant, base]:
            work(variant, base)
        case _:
            sys.exit(main())
