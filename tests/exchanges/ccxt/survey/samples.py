"""The sample answers in the source of ccxt's classes: a comment after a request shows what its exchange answers."""

from __future__ import annotations

import inspect
import json
import re
from functools import cache
from typing import NamedTuple

from ccxt.base.types import Entry

__all__ = ["Sample", "Samples", "requests_of"]


class Sample(NamedTuple):
    """A document in a comment, and the words before it in the same comment."""

    heading: str
    document: object


def requests_of(kind):
    """ccxt's raw requests of a class: path, API and method -> the names of the request."""
    found = {}
    for base in kind.__mro__:
        for name, entry in vars(base).items():
            if isinstance(entry, Entry):
                found.setdefault((entry.path, tuple(entry.api), entry.method), []).append(name)
    return found


class Samples:
    """The samples of one class of ccxt, read when they are asked for."""

    def __init__(self, kind) -> None:
        self.kind = kind
        self._names = {name for names in requests_of(kind).values() for name in names}
        self._read = cache(self._read_method)

    def methods(self):
        """The names of the methods that the class and its ancestors have, without those of ccxt's own base."""
        return [
            name
            for base in self.kind.__mro__
            if base.__module__.startswith("ccxt.") and not base.__module__.startswith(("ccxt.base", "ccxt.abstract"))
            for name, value in vars(base).items()
            if inspect.isfunction(value)
        ]

    def of(self, method):
        """The samples in a method."""
        return [event for event in self._read(method) if isinstance(event, Sample)]

    def after(self, method, names):
        """The samples after a request with one of these names, each with its place after it: the first is 0.

        A method makes one of several requests, and their samples follow all of them in the same order.
        """
        found, asked, told = [], [], []
        for event in [*self._read(method), ""]:
            if isinstance(event, Sample):
                told.append(event)
                continue
            if told:
                places = [place for place, name in enumerate(asked) if name in names]
                found += [(abs(k - min(places[0], len(told) - 1)), sample) for k, sample in enumerate(told) if places]
                asked, told = [], []
            asked.append(event)
        return found

    def _read_method(self, method):
        """The names of the requests and the samples of a method, in the order of its source."""
        function = next((vars(base)[method] for base in self.kind.__mro__ if method in vars(base)), None)
        if not inspect.isfunction(function) or function.__module__.startswith("ccxt.base"):
            return []
        events, comment = [], []
        for line in [*inspect.getsource(function).split("\n"), "end"]:
            text = line.strip()
            if text.startswith("#"):
                comment.append(text[1:])
            elif text or not comment:
                events += _samples_in("\n".join(comment))
                comment = []
                events += [name for name in re.findall(r"self\.(\w+)\(", text) if name in self._names]
        return events


def _samples_in(comment):
    """The documents in the text of a comment."""
    found, start = [], 0
    while (opening := re.compile(r"[\[{]").search(comment, start)) is not None:
        end = _end_of(comment, opening.start())
        if end is None:
            break
        try:
            document = _read(comment[opening.start() : end])
        except (ValueError, IndexError):
            document = None
        if document is not None:
            found.append(Sample(comment[start : opening.start()].strip(), document))
        start = end
    return found


def _end_of(text, start):
    """Where the bracket that opens at `start` is closed; None: nowhere."""
    depth, quoted, place = 0, False, start
    while place < len(text):
        sign = text[place]
        if quoted:
            place += sign == "\\"
            quoted = sign not in '"\n'
        elif sign == '"':
            quoted = True
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
            if not depth:
                return place + 1
        place += 1
    return None


_TOKEN = re.compile(r"""\s+|(?://|\#)[^\n]*|\.{2,}|…|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[\[\]{}:,]|[^\s\[\]{}:,"']+""")
_SKIPPED = re.compile(r"\s|//|#|\.\.|…")


def _read(text):
    """A document of a comment: JSON as people write it, with remarks, single quotes and commas too many.

    Raises ValueError or IndexError.
    """
    tokens, place = [], 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError("not a document")
        place = token.end()
        if not _SKIPPED.match(token[0]):
            tokens.append(token[0])
    tokens.reverse()
    return _value(tokens)


def _value(tokens):
    """Take a value off the end of `tokens`."""
    token = tokens.pop()
    if token == "{":
        row = {}
        while (name := tokens.pop()) != "}":
            if name != ",":
                if tokens.pop() != ":":
                    raise ValueError("not a document")
                row[str(_scalar(name))] = _value(tokens)
        return row
    if token == "[":
        rows = []
        while tokens[-1] != "]":
            if tokens[-1] == ",":
                tokens.pop()
            else:
                rows.append(_value(tokens))
        tokens.pop()
        return rows
    return _scalar(token)


def _scalar(token):
    words = {"True": True, "False": False, "None": None, "undefined": None}
    if token in words:
        return words[token]
    if token[0] == "'":
        return token[1:-1]
    try:
        return json.loads(token, strict=False)
    except ValueError:
        return token
