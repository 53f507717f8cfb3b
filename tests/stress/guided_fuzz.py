"""Coverage-guided fuzzing of what reads a caller's bytes: parameters, logins, addresses, heads, chunks, amounts.

    python -m tests.stress.guided_fuzz [--minutes 10] [--seed 1]

It needs atheris (`pip install atheris`), which measures the branches that an input reaches, and goes on from those
that reached new ones. The first byte of an input chooses the reader. Only the error that the reader names may come out
of it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from importlib import import_module
from ipaddress import ip_address, ip_network
from pathlib import Path

from starlette.requests import Request

from bitmm.xwrap import money
from bitmm.xwrap.errors import InvalidRequest
from bitmm.xwrap.server import auth, bodies, callers, heads, middleware, params, passwords
from bitmm.xwrap.server.problems import Problem

_PROXIES = (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))
_OUR_HOSTS = frozenset({"xwrap.example"})


def read_params(data: bytes) -> None:
    """A form, whose fields are taken in every way."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": data, "more_body": False}

    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    scope = {"type": "http", "method": "POST", "query_string": b"", "headers": headers}
    try:
        found = asyncio.run(params.read_params(Request(scope, receive)))
    except Problem as problem:
        _expect(problem, 413, 422)
        return
    for name, pop in {
        "amount": found.pop_amount,
        "name": found.pop_name,
        "text": found.pop_text,
        "label": found.pop_label,
        "int": lambda name: found.pop_int(name, default=0),
        "bool": lambda name: found.pop_bool(name, default=False),
    }.items():
        try:
            value = pop(name)  # type: ignore[operator]
        except Problem as problem:
            _expect(problem, 422)
        else:
            if isinstance(value, Decimal):
                assert value > 0
                assert money.exact(money.plain(value)) == value
    with suppress(Problem):
        found.finish()


def _expect(problem: Problem, *statuses: int) -> None:
    assert problem.status in statuses, problem.status


def read_login(data: bytes) -> None:
    """The value of an Authorization header, and the name in it."""
    try:
        name, _password = auth._parse_basic(passwords.Secret(data.decode("latin-1")))
    except Problem as problem:
        _expect(problem, 401)
        return
    normal = passwords.normal_name(name)
    assert passwords.normal_name(normal) == normal
    with suppress(InvalidRequest, ValueError):
        checked = passwords.check_name(name)
        assert passwords.check_name(checked) == checked


def read_origin(data: bytes) -> None:
    """Host, Origin, Sec-Fetch-Site, Sec-Fetch-Mode and Sec-Fetch-Dest, a line each."""
    names = (b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest")
    headers = list(zip(names, data.split(b"\n"), strict=False))
    check = middleware.OriginCheckMiddleware(_no_app, _OUR_HOSTS)
    problem = check._objection({"method": "GET", "path": "/", "headers": headers})
    if problem is not None:
        _expect(problem, 403, 421)
    else:
        assert data.partition(b"\n")[0].isascii()


async def _no_app(*_: object) -> None:
    raise AssertionError("not called")


def read_amount(data: bytes) -> None:
    """The text of an amount: what is read is written and read again with the same digits."""
    text = data.decode("latin-1")
    try:
        number = money.exact(text)
    except ValueError:
        assert money.advice(text)
        return
    # Exponents may make plain digits that are longer than what `exact` takes.
    assert Decimal(money.plain(number)).as_tuple() == number.as_tuple() or "e" in text.lower()
    assert Decimal(money.plain(number)) == number


def read_document(data: bytes) -> None:
    """A JSON document of an exchange."""
    with suppress(ValueError):
        money.decode(data.decode("latin-1"))


def read_forwarded(data: bytes) -> None:
    """X-Forwarded-For headers, a line each."""
    forwarded = data.decode("latin-1").split("\n")
    found = callers.caller_address("127.0.0.1", forwarded, _PROXIES)
    ip_address(found)
    ip_network(callers.origin_network(found))


def read_head(data: bytes) -> None:
    """The head of a request: its lines and its length are certain, or it is refused."""
    received = bytearray(data)
    try:
        head = heads.take_head(received)
        if head is None:
            return
        kept = heads.check_head(head)
    except heads.RefusedError:
        return
    text, length = kept
    assert text.endswith(b"\r\n\r\n")
    assert text.count(b"\n") == text.count(b"\r") == text.count(b"\r\n")
    assert b"\0" not in text
    assert text.split(b" ", 2)[1].startswith(b"/")
    assert length is None or 0 <= length <= params.MAX_BODY


def read_chunks(data: bytes) -> None:
    """A body in chunks: it ends at the same byte with the same data at once and byte by byte, or is refused."""
    assert _unchunk(data, len(data)) == _unchunk(data, 1)


def _unchunk(data: bytes, step: int) -> tuple[bytes, bytes] | str:
    """Return the data of a body and what follows it, or why it is refused; `step` bytes come at once."""
    body, received, found, rest = bodies.Chunks(), bytearray(), b"", data
    try:
        while rest and not body.is_complete:
            received += rest[:step]
            rest = rest[step:]
            taken = body.pop(received)
            if body.is_complete:
                assert taken.endswith(b"0\r\n\r\n")
                taken = taken[:-5]
            if taken:
                size, _, chunk = taken.partition(b"\r\n")
                assert len(chunk) == int(size, 16) + 2
                found += chunk[:-2]
    except heads.RefusedError as error:
        return str(error)
    assert len(found) <= params.MAX_BODY
    return (found, bytes(received) + rest) if body.is_complete else (found, b"")


#: What reads an input, with inputs to begin with.
READERS: tuple[tuple[Callable[[bytes], None], tuple[bytes, ...]], ...] = (
    (read_params, (b"amount=1.5&name=BTC&text=a%20b&label=x&int=5&bool=true", b"amount=1E-8&name=%ff&label=%E2%80%AE")),
    (read_login, (b"Basic YTpi", b"basic w6Q6w7Y=", b"Basic /zr/", b"Bearer x")),
    (
        read_origin,
        (b"127.0.0.1:80\nhttp://127.0.0.1:80\nsame-origin", b"xwrap.example\nhttp://[::1\nnone", b"[::1]:80"),
    ),
    (read_amount, (b"0.1", b"1E-8", b"-1,234.50", b"1.234,5", b"9" * 101, b"1e100", b"+.5")),
    (read_document, (b'{"a": [1.5, -0, 1e3, "\\ud800"], "b": null}', b"[" * 101, b"NaN", b'{"a":1,"a":1}')),
    (read_forwarded, (b"1.2.3.4, 127.0.0.1", b"[::1%1]:80\n::ffff:1.2.3.4", b"1.2.3.4:99, fd00::1")),
    (
        read_head,
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nUpgrade: b\r\n\r\n",
            b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET http://a:1/x HTTP/1.1\r\nHost: A:1\r\n\r\n",
        ),
    ),
    (
        read_chunks,
        (b"3\r\nabc\r\n0\r\n\r\nGET", b'01;a="b"\r\nx\r\n2 ;c\r\nyz\r\n0;d\r\nX: y\r\n\r\n', b"10001\r\n"),
    ),
)


def read(data: bytes) -> None:
    """Give an input to the reader that its first byte chooses."""
    if data:
        READERS[data[0] % len(READERS)][0](data[1:])


def beginnings() -> list[bytes]:
    """Return the inputs to begin with."""
    return [bytes([place]) + text for place, (_, texts) in enumerate(READERS) for text in texts]


def read_changed(*, count: int, seed: int) -> Counter[str]:
    """Read so many randomly changed inputs, the same for the same seed, without guidance; return how many by reader."""
    rng, counts = random.Random(seed), Counter[str]()
    inputs = beginnings()
    for _ in range(count):
        data = bytearray(rng.choice(inputs))
        for _ in range(rng.randint(0, 4)):
            place = rng.randrange(1, len(data) + 1)
            other = rng.choice(inputs)[1:]
            data[place : place + rng.randint(0, 2)] = rng.choice((bytes([rng.randrange(256)]), b"", other, other[:3]))
        read(bytes(data))
        counts[READERS[data[0]][0].__name__] += 1
    return counts


def _fuzz(arguments: list[str]) -> None:
    atheris = import_module("atheris")
    for module in (params, bodies, auth, passwords, middleware, money, callers, heads):
        _instrument(atheris, module)
    atheris.Setup([sys.argv[0], *arguments], read)
    atheris.Fuzz()


def _instrument(atheris: object, module: object) -> None:
    """Let atheris see the branches of a module's functions and methods."""
    for owner in [module, *(value for value in vars(module).values() if isinstance(value, type))]:
        if getattr(owner, "__module__", None) not in (None, getattr(module, "__name__", "")):
            continue
        for function in vars(owner).values():
            code = getattr(function, "__code__", None)
            if code is not None and code.co_filename == getattr(module, "__file__", ""):
                function.__code__ = atheris.patch_code(code, True, True)  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        import_module("atheris")
    except ImportError:
        raise SystemExit("atheris is not installed: pip install atheris") from None
    with tempfile.TemporaryDirectory(prefix="xwrap-fuzz-") as folder:
        for number, data in enumerate(beginnings()):
            Path(folder, f"beginning-{number}").write_bytes(data)
        limits = [f"-max_total_time={round(options.minutes * 60)}", f"-seed={options.seed}", "-max_len=4096"]
        # libFuzzer ends its process.
        code = "import sys; from tests.stress import guided_fuzz; guided_fuzz._fuzz(sys.argv[1:])"
        command = [sys.executable, "-c", code, folder, *limits, "-print_final_stats=1", f"-artifact_prefix={folder}/"]
        ended = subprocess.run(command, check=False)
        corpus = [path for path in Path(folder).iterdir() if not path.name.startswith(("crash-", "timeout-", "oom-"))]
        crashes = len(list(Path(folder).iterdir())) - len(corpus)
        print(f"{options.minutes:g} minutes, seed {options.seed}: corpus {len(corpus)}, crashes {crashes}")
    if ended.returncode or crashes:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
