"""Try every spot class of ccxt on sample answers: `python -m tests.exchanges.ccxt.survey [ID ...] [--write]`.

Prints the table and the figures; `--write` renews the table in bitmm/xwrap/exchanges/README.md. With names of classes
it prints what became of each operation there.
"""

from __future__ import annotations

import logging
import sys

from tests.exchanges.ccxt.survey.table import README, row, spot_classes, table, written
from tests.exchanges.ccxt.survey.trial import Stub, try_out


def main(arguments) -> int:
    logging.disable(logging.WARNING)
    ids = [argument for argument in arguments if not argument.startswith("-")]
    with Stub() as stub:
        tried = {id: try_out(id, stub) for id in ids or spot_classes()}
    if ids:
        for id, (results, by_hand) in tried.items():
            print(row(id, results, by_hand))
            for operation, result in results.items():
                print(f"    {operation}: {result.outcome} {result.words[:500]}")
        return 0
    text = table(tried)
    print(text)
    if "--write" in arguments:
        README.write_text(written(text))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
