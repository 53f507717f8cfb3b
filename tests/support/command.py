"""The `xwrap` command, run as a person runs it, and what its tests expect of it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

XWRAP = [sys.executable, "-m", "bitmm.xwrap"]
#: What a command sees of the environment: nothing of its user's. A run under coverage measures the commands, too.
BARE = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": os.pathsep.join(sys.path),
    "HOME": "/nonexistent",
    "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
}
ENVIRON = BARE | {"XWRAP_EXCHANGES": "paper"}

#: The commands that speak to a running server.
OVER_HTTP = {
    *("key", "credential", "address"),
    *("login", "logout", "profiles", "rates", "best", "balance", "value", "markets", "book", "candles", "fees"),
    *("buy", "sell", "order", "cancel", "cancel-all", "fills", "send", "export"),
}


def xwrap(*args, stdin="", **environ):
    return subprocess.run(
        [*XWRAP, *map(str, args)],
        input=stdin,
        capture_output=True,
        text=True,
        env=ENVIRON | environ,
        timeout=60,
        check=False,
    )


@contextmanager
def serve(*args, **environ):
    """A running `xwrap serve`; gives the process and the lines it printed until it accepted connections."""
    process = subprocess.Popen(
        [*XWRAP, "serve", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRON | environ,
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if "serves at" in line:
                break
        else:
            raise AssertionError(f"xwrap serve ended: {process.stderr.read()}")
        yield process, lines
    finally:
        process.kill()
        process.communicate()


def url_of(lines):
    return lines[-1].split()[-1]


def one_line(result, *words):
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("xwrap: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def prepared(folder, **environ):
    with serve("--port", 0, "--data", folder, **environ):
        pass
