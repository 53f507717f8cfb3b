"""What a start of the server costs: `python -m tests.benchmarks.startup` (a minute).

CPU seconds until the port is open, resident memory a second later, and threads, of `xwrap serve` on a data base that
exists with four exchanges, and of a bare application of Starlette on uvicorn: quartiles of one interleaved run, and the
ratios of the medians. The exit status is 1 when the start takes more than 0.6 s of CPU. It needs Linux.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

LIMIT = 0.6
BARE = """
import sys, uvicorn
from starlette.applications import Starlette
uvicorn.run(Starlette(), port=int(sys.argv[1]), log_level="error", lifespan="off")
"""


class Start(NamedTuple):
    """One start: CPU seconds until the port was open, MiB that are resident a second later, and threads."""

    cpu: float
    memory: float
    threads: float


def cpu_seconds(process: int) -> float:
    """Return the CPU seconds of a process by now."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(command: list[str], port: int, environ: dict[str, str]) -> Start:
    """Start a server and stop it again."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ) as server:
        while server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.005)
        cpu = cpu_seconds(server.pid)
        time.sleep(1)
        status = dict(line.split(":", 1) for line in Path(f"/proc/{server.pid}/status").read_text().splitlines())
        server.terminate()
    return Start(cpu, int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]))


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    rounds, ours, theirs = parser.parse_args().rounds, [], []
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "XWRAP_DATA_DIR": folder, "XWRAP_EXCHANGES": "paper,kraken,bitstamp,backpack"}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(rounds + 1):
            port = free_port()
            ours.append(start([sys.executable, "-m", "bitmm.xwrap", "serve", "--port", str(port)], port, environ))
            port = free_port()
            theirs.append(start([sys.executable, "-c", BARE, str(port)], port, environ))
    # The first start makes the data base, and compiles modules.
    for name, unit in (("cpu", "s of CPU until the port is open"), ("memory", "MiB at rest"), ("threads", "threads")):
        mine, bare = ([getattr(each, name) for each in starts[1:]] for starts in (ours, theirs))
        low, median, high = statistics.quantiles(mine, n=4)
        other = statistics.median(bare)
        print(f"{median:.2f} ({low:.2f} to {high:.2f}) {unit}; bare: {other:.2f}, ratio {median / other:.2f}")
    return int(statistics.median(each.cpu for each in ours[1:]) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
