"""A program in a process of its own that may be killed: `python -m tests.stress.grid_bot_process PROGRAM STATE`.

The program runs as it is written; only its pauses are shortened. The first byte in the file STATE always says what it
is doing: "-" before its first line, "G" or "P" while a GET or a POST is on its way, else " ". The number after it
counts its rounds: the pauses before which it asked something, and had an answer to all that it asked. The file is
mapped, so that this outlives the process.
"""

from __future__ import annotations

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path
from typing import Any

from bitmm.xwrap.transport import Transport

#: A second of the program lasts so long here, in seconds.
SECOND = 0.002
#: What is in the file: what the program is doing, and how many rounds it has made.
STATE = struct.Struct("<cI")
#: The answers of a round: also that there is nothing under a key.
_ANSWERS = {200, 404}


def main(program: str, state: str) -> None:
    with Path(state).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), STATE.size)
    rounds, statuses = 0, set[int]()
    real_send, real_sleep = Transport.send, time.sleep

    def send(self: Transport, request: Any, **more: Any) -> Any:
        shared[:1] = request.method[:1].encode()
        status = 0
        try:
            response = real_send(self, request, **more)
            status = response.status
        finally:
            statuses.add(status)
            shared[:1] = b" "
        return response

    def sleep(seconds: float) -> None:
        nonlocal rounds
        rounds += bool(statuses) and statuses <= _ANSWERS
        statuses.clear()
        STATE.pack_into(shared, 0, b" ", rounds)
        real_sleep(seconds * SECOND)

    Transport.send = send  # type: ignore[method-assign]
    time.sleep = sleep
    shared[:1] = b" "
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
