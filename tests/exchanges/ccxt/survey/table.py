"""The table of what the survey found, as it stands in the exchanges' README."""

from __future__ import annotations

import re
from pathlib import Path

import ccxt

import bitmm.xwrap.exchanges
from tests.exchanges.ccxt.survey.trial import OPERATIONS

__all__ = ["README", "row", "spot_classes", "table", "written"]

README = Path(bitmm.xwrap.exchanges.__file__).with_name("README.md")
_MARKS = re.compile(r"(<!-- survey: [^>]*-->\n)(.*?)(<!-- end -->)", re.DOTALL)
_CELLS = {"yes": "yes", "refused": "-", "no sample": "?", "no": "no"}


def spot_classes():
    """The ids of the classes of ccxt that have spot markets."""
    return [id for id in ccxt.exchanges if getattr(ccxt, id)().has["spot"]]


def row(id, results, by_hand):
    """The line of a class."""
    cells = [_CELLS[results[operation].outcome] for operation in OPERATIONS]
    return f"| {' | '.join([f'`{id}`', *cells, str(by_hand) if by_hand else '-'])} |"


def table(tried):
    """The table of all classes, with the figures above it."""
    *trading, _ = OPERATIONS
    passed = [id for id, (results, _) in tried.items() if {results[name].outcome for name in trading} == {"yes"}]
    alone = [id for id in passed if not tried[id][1]]
    found = [id for id, (results, _) in tried.items() if results["find"].outcome == "yes"]
    lines = [
        f"ccxt {ccxt.__version__}: {len(passed)} of {len(tried)} classes pass all of rate, funds, limit, market,",
        f"order, open orders and cancel, {len(alone)} of them on ccxt's samples alone;",
        f"{len(found)} find an order by our id.",
        "",
        f"| class | {' | '.join(OPERATIONS)} | by hand |",
        f"| --- |{' --- |' * len(OPERATIONS)} --- |",
        *(row(id, *result) for id, result in tried.items()),
    ]
    return "\n".join(lines) + "\n"


def written(text):
    """The README with this table in it."""
    return _MARKS.sub(lambda found: found[1] + text + found[3], README.read_text())
