"""`python -m tests.stress.server SECONDS serve ...`: the `xwrap` command with the clock set back by so many seconds."""

from __future__ import annotations

import sys
import time

from bitmm.xwrap.__main__ import main

if __name__ == "__main__":
    back = int(sys.argv.pop(1))
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() - back
    time.time_ns = lambda: now_ns() - back * 10**9
    main()
