"""Clients, server, exchange and network in one process on a virtual clock; what goes wrong is drawn from a seed.

    python -m tests.stress.simulation --seeds 10000 --jobs 2
    python -m tests.stress.simulation --seed 4711              one seed, with its whole history
    python -m tests.stress.simulation --break blind-resend     the code is broken on purpose: a seed finds it
    python -m tests.stress.simulation --servers 2 --seeds 200  two servers on one PostgreSQL

Real are the client, the application with everything behind it, a SQLite file, and the local exchanges. Simulated are
the clocks, the threads, and the network, which loses, delays, doubles, swaps and cuts messages on both ways; machines
stand still, clocks jump, the server is killed at any commit, message or wait, and started again with the shipped
settings. A checker compares all that clients were told with the exchange's ledger.

With `--servers` that many share a data base on a real PostgreSQL, whose waits and time-outs are on the virtual clock
(`postgres.py` says what this leaves out), and each call reaches any of them: one is killed and comes back, stands still
until PostgreSQL takes its locks away, loses its connections, or has a wrong clock. Transactions interleave statement by
statement. An older copy of the data base and a full disk are left to the one server on SQLite, and a call that a proxy
sends twice reaches one server twice (`Balancer` in `receivers.py` says why).

It prints its figures, and exits with 1 unless nothing was executed twice, all that was told was true, the journal
agrees with the exchange in the end, nothing stays unknown where the exchange can look it up, Kraken's nonces rise with
each request whoever sends it, and the first seeds run once more have the same history.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from typing import Any

from tests.support.databases import server

ROOT = Path(__file__).parents[3]
#: What a checker finds.
PROBLEMS = ("doubled", "lie", "unknown", "frozen", "journal", "nonce", "mistake")
#: So many seeds are run once more.
REPEATED = 5
#: So many seeds are run by one process: the threads of killed servers stay in it.
SEEDS_OF_A_WORKER = 250


def run_worker(seeds: Sequence[int], *options: str) -> Iterator[dict[str, Any]]:
    """Give the results of a worker process, one for each seed."""
    command = [sys.executable, "-m", "tests.stress.simulation.worker", *options]
    environ = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, cwd=ROOT, env=environ) as process:
        process.stdin.write(json.dumps(list(seeds)))
        process.stdin.close()
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"a worker ended with status {process.returncode}")


def run(seeds: Sequence[int], jobs: int = 1, *options: str) -> list[dict[str, Any]]:
    """Return the results of seeds, in this order, run by so many processes at a time. Problems are printed at once.

    `options`: more for each worker.
    """

    size = min(SEEDS_OF_A_WORKER, ceil(len(seeds) / jobs))

    def share(begin: int) -> list[dict[str, Any]]:
        results = []
        for result in run_worker(seeds[begin : begin + size], *options):
            results.append(result)
            for problem in result["problems"]:
                print(f"seed {result['seed']}: {problem}", flush=True)
        return results

    with ThreadPoolExecutor(jobs) as pool:
        shares = pool.map(share, range(0, len(seeds), size))
        results = {result["seed"]: result for share in shares for result in share}
    return [results[seed] for seed in seeds]


def find(breakage: str, seeds: Sequence[int], *options: str) -> dict[str, Any] | None:
    """Return the first result with a problem, of code that is broken on purpose; None: no seed finds it."""
    *_, last = run_worker(seeds, "--break", breakage, "--stop", *options)
    return last if last["problems"] else None


def report(results: list[dict[str, Any]], seconds: float) -> str:
    """Return the figures of a run."""
    counts, faults = Counter[str](), Counter[str]()
    for result in results:
        counts.update(result["counts"])
        faults.update(result["faults"])
    by_kind = ", ".join(f"{kind} {faults[kind]}" for kind in sorted(faults))
    found = ", ".join(f"{kind} {counts[kind]}" for kind in PROBLEMS)
    return "\n".join(
        [
            f"{len(results)} seeds in {seconds:.0f} s: {counts['orders']} orders, {counts['sends']} of them sends",
            f"faults: {by_kind}",
            f"found: {found}; unknown where the exchange cannot tell {counts['cannot tell']}",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.simulation", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="run this seed alone, and print its history")
    parser.add_argument("--first", type=int, default=0, help="the first of many seeds")
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--break", dest="breakage", metavar="NAME", help="see breakages.py")
    parser.add_argument("--servers", type=int, choices=range(1, 9), default=1, help="on one PostgreSQL, from two on")
    options = parser.parse_args()
    with ExitStack() as stack:
        more: list[str] = []
        if options.servers > 1:
            more = ["--servers", str(options.servers), "--postgres", stack.enter_context(server())]
        return carry_out(options, more)


def carry_out(options: argparse.Namespace, more: Sequence[str]) -> int:
    """Do what the command line says, with `more` options for the workers; return the exit status."""
    seeds = range(options.first, options.first + options.seeds)
    began = time.monotonic()
    if options.seed is not None:
        broken = ["--break", options.breakage] if options.breakage else []
        [result] = run_worker([options.seed], "--trace", *broken, *more)
        print("\n".join([*result["trace"], *result["problems"]]))
        print(report([result], time.monotonic() - began))
        return 1 if result["problems"] else 0
    if options.breakage:
        result = find(options.breakage, seeds, *more)
        print(f"{options.breakage} is found by", f"seed {result['seed']}" if result else "no seed")
        print("\n".join(result["problems"] if result else []))
        return 1
    results = run(seeds, options.jobs, *more)
    print(report(results, time.monotonic() - began))
    again = run(seeds[:REPEATED], 1, *more)
    differing = [one["seed"] for one, other in zip(again, results, strict=False) if one["digest"] != other["digest"]]
    print(f"the first {len(again)} seeds run again: {f'other histories of {differing}' if differing else 'the same'}")
    return 1 if differing or any(result["problems"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
