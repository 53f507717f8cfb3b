"""Threads in tests."""

from __future__ import annotations

import threading
import time


def in_threads(count, work):
    """Run `work(number)` in threads that start together; what each of them returned or raised."""
    results = [None] * count
    together = threading.Barrier(count)

    def run(number):
        together.wait()
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def until(condition):
    """Wait until it is so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
