"""A process that runs the seeds of its standard input, one after the other; its standard output has a line for each.

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
from .world import Template, run_seed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--break", dest="breakage", choices=BREAKAGES)
    parser.add_argument("--stop", action="store_true", help="stop after the first seed with a problem")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--postgres", metavar="URL", help="where several servers have their data bases")
    options = parser.parse_args()
    if options.breakage:
        BREAKAGES[options.breakage]()
    server = None
    if options.postgres:
        from .postgres import PostgresServer, install  # needs psycopg

        server = PostgresServer(options.postgres)
        install()
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="xwrap-simulation-", dir=memory if memory.is_dir() else None))
    templates: dict[str, Template] = {}
    more = {"servers": options.servers, "postgres": server}
    try:
        for seed in json.load(sys.stdin):
            try:
                result = run_seed(seed, templates, folder / "data", keep_trace=options.trace, **more)
            except BaseException as error:
                error.add_note(f"in seed {seed}")
                raise
            print(json.dumps(vars(result)), flush=True)
            if options.stop and result.problems:
                break
    finally:
        shutil.rmtree(folder)
        for template in templates.values():
            if server is not None and template.database is not None:
                server.drop(template.database)


if __name__ == "__main__":
    sys.exit(main())
