"""A process that runs seeds, one after the other: a JSON line for each on its standard output.

It is started by `__main__`, with PYTHONHASHSEED=0: the order of a set of texts is a part of what a seed determines.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from .breakages import BREAKAGES
from .world import run_seed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--step", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--break", dest="breakage", choices=BREAKAGES)
    parser.add_argument("--stop", action="store_true", help="stop after the first seed with a problem")
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
    if options.breakage:
        BREAKAGES[options.breakage]()
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="xwrap-simulation-", dir=memory if memory.is_dir() else None))
    templates: dict[str, Path] = {}
    try:
        for index in range(options.count):
            seed = options.first + index * options.step
            result = run_seed(seed, templates, folder / "data", keep_trace=options.trace)
            print(json.dumps(vars(result)), flush=True)
            if options.stop and result.problems:
                break
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
