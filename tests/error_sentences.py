"""Every sentence in which the client, the server or the command says that something failed, as it stands in the source.

    python -m tests.error_sentences [PART]

prints them, of a part of bitmm/xwrap/ or of all. They were read once, one by one (2026-11-27): a sentence names what
was given or what happened, what is allowed, and what to do, as far as that can be known where it is made. What stands
in braces is put in, also another sentence. What an exchange itself says is shown as it is and is not in the list.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

XWRAP = Path(__file__).parents[1] / "bitmm" / "xwrap"

#: Makers of errors whose names do not end in Error -> which of their arguments is the sentence. A function that hands
#: one of its own arguments on to a maker is a maker, too.
MAKERS = {
    **dict.fromkeys(("Busy", "InsufficientFunds", "InvalidRequest", "NotFound", "NotListedYet", "OutcomeUnknown"), 0),
    **dict.fromkeys(("PermissionDenied", "RateLimited", "Refused", "Unavailable", "Unknown", "Unsupported"), 0),
    "stop": 0,
    "Problem": 2,
}
#: Variables that hold a sentence, or a part of one.
NAMES = {"_REASONS", "_REDIRECT", "DEAD", "detail", "near", "problem", "public", "reason", "refusal", "words"}


class Sentence(NamedTuple):
    place: str
    line: int
    maker: str
    text: str


def all_sentences(part: str = "") -> list[Sentence]:
    """The sentences of all modules below a part of the package, but those of the local exchanges."""
    makers = dict(MAKERS)
    while found := {
        name: place for path in modules() for name, place in more_makers(path, makers) if name not in makers
    }:
        makers |= found
    return [
        sentence
        for path in modules()
        if path.relative_to(XWRAP).as_posix().startswith(part)
        for sentence in sorted(set(sentences(path, makers)), key=lambda one: one.line)
    ]


def modules() -> list[Path]:
    return [path for path in sorted(XWRAP.rglob("*.py")) if "testing/" not in path.as_posix()]


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


def sentences(path: Path, makers: dict[str, int]) -> Iterator[Sentence]:
    """The sentences of a module: arguments of what makes an error, and what is kept for one."""
    place = path.relative_to(XWRAP).as_posix()
    for node in nodes(path):
        if isinstance(node, ast.Call) and (given := argument(node, makers)) is not None:
            name, value = maker(node), given
        elif isinstance(node, ast.Assign | ast.AnnAssign) and ast.unparse(names := target(node)) in NAMES:
            name, value = ast.unparse(names), node.value
        else:
            continue
        for text in texts(value):
            if " " in text.strip():
                yield Sentence(place, node.lineno, name, text)


def more_makers(path: Path, makers: dict[str, int]) -> Iterator[tuple[str, int]]:
    """The functions of a module that hand one of their arguments on as a sentence."""
    for node in nodes(path):
        if not isinstance(node, ast.FunctionDef):
            continue
        parameters = [one.arg for one in node.args.args if one.arg not in {"self", "cls"}]
        for call in ast.walk(node):
            given = argument(call, makers) if isinstance(call, ast.Call) else None
            for part in ast.walk(given) if given is not None else ():
                if isinstance(part, ast.Name) and part.id in parameters and part.id in {*NAMES, "name", "why"}:
                    yield node.name, parameters.index(part.id)


def maker(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def argument(call: ast.Call, makers: dict[str, int]) -> ast.expr | None:
    """The sentence that a call makes an error of; None: it makes none."""
    name = maker(call)
    position = makers.get(name, 0 if name.endswith("Error") else None)
    return None if position is None or len(call.args) <= position else call.args[position]


def target(node: ast.Assign | ast.AnnAssign) -> ast.expr:
    return node.target if isinstance(node, ast.AnnAssign) else node.targets[0]


def texts(node: ast.AST | None) -> Iterator[str]:
    """The texts that an expression may be; what is put into one stands in braces."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = [
            str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
            for part in node.values
            if isinstance(part, ast.Constant | ast.FormattedValue)
        ]
        yield "".join(parts)
    elif isinstance(node, ast.BinOp):
        left, right = [*texts(node.left)] or ["{...}"], [*texts(node.right)] or ["{...}"]
        yield from (one + other for one in left for other in right)
    elif isinstance(node, ast.IfExp | ast.BoolOp | ast.Dict | ast.Tuple | ast.List):
        for part in ast.iter_child_nodes(node):
            if not (isinstance(node, ast.IfExp) and part is node.test):
                yield from texts(part)


def main() -> None:
    found = all_sentences(*sys.argv[1:2])
    for place, line, name, text in found:
        print(f"{place}:{line}  {name}\n    {text}")
    print(f"{len(found)} sentences, {len({sentence.text for sentence in found})} different ones")


if __name__ == "__main__":
    main()
