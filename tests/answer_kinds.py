"""The kinds of answers of real exchanges that broken adapters met, and which adapter is given each kind by which tests.

    python -m tests.answer_kinds

prints the table kind x adapter, made from the tests' marks `answer_kind(kind, exchange=...)`, and the reason for each
cell that no test fills: why this adapter cannot meet an answer of this kind. It fails when a cell has neither, or both.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

KINDS = {
    "A": "one odd line of an answer hides all the others",
    "B": "an absent result that means nothing is taken for a broken answer",
    "C": "an order of a market that takes no new orders cannot be read",
    "D": "a fee in the wrong currency",
    "E": "an address that must not be used any more is handed out",
    "F": "Retry-After is not obeyed",
    "G": "a passing refusal is reported as a lasting one",
    "H": "a certain refusal is reported as an unknown outcome",
    "I": "funds that contradict themselves",
    "J": "a field that may be absent or null is required",
}
EXCHANGES = ("kraken", "bitstamp", "backpack", "mtgox", "hub", "paper", "ccxt")

#: Why an adapter cannot meet an answer of a kind.
REASONS: dict[tuple[str, str], str] = {
    ("E", "mtgox"): "the answer is one address, the current one, and names no end of its use",
    ("C", "hub"): "the protocol has no list of markets, so that none can be closed",
    ("D", "hub"): "the protocol has no fees",
    ("E", "hub"): "the answer is a new address each time, and names no end of its use",
    ("A", "paper"): "its ledger is in the server's own data base, whose rows it wrote itself",
    ("C", "paper"): "its one market is always open",
    ("E", "paper"): "a registration has one address, for ever",
    ("F", "paper"): "it is asked without HTTP and has no limits",
    ("G", "paper"): "what it refuses it refuses for what was asked, and not for the moment",
    ("H", "paper"): "an order is one transaction: it is committed, or it failed",
}


class Marks:
    """A plugin of pytest that counts the marks of the tests that are collected."""

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str]] = Counter()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            self.found.update({(mark.args[0], mark.kwargs["exchange"]) for mark in item.iter_markers("answer_kind")})


def count_tests() -> Counter[tuple[str, str]]:
    """Return how many tests give an answer of a kind to an adapter, by kind and adapter."""
    files = [str(path) for path in sorted(TESTS.rglob("test_*.py")) if "answer_kind" in path.read_text("utf-8")]
    marks, output = Marks(), io.StringIO()
    with contextlib.redirect_stdout(output):
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *files], plugins=[marks])
    if status:
        raise SystemExit(output.getvalue())
    return marks.found


def faults(found: Counter[tuple[str, str]]) -> list[str]:
    """Return what is wrong with the table, in a line each."""
    cells = {(kind, exchange) for kind in KINDS for exchange in EXCHANGES}
    marked, explained = set(found), set(REASONS)
    return [
        *(
            f"{kind} {exchange}: no test, and no reason why there is none"
            for kind, exchange in cells - marked - explained
        ),
        *(f"{kind} {exchange}: a reason why it is not tested, and a test" for kind, exchange in marked & explained),
        *(f"{kind} {exchange}: there is no such kind or adapter" for kind, exchange in (marked | explained) - cells),
    ]


def main() -> None:
    found = count_tests()
    print(f"{'kind':<71}" + "".join(f"{exchange:>9}" for exchange in EXCHANGES))
    for kind, meaning in KINDS.items():
        cells = [str(found[kind, exchange] or "-") for exchange in EXCHANGES]
        print(f"{kind}  {meaning:<68}" + "".join(f"{cell:>9}" for cell in cells))
    print(f"{len(found)} of {len(KINDS) * len(EXCHANGES)} cells are tested, by {found.total()} tests")
    for (kind, exchange), reason in sorted(REASONS.items()):
        print(f"- {kind} {exchange}: {reason}")
    wrong = sorted(faults(found))
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
