"""The rules that a reader of the package relies on: which way imports point, where things stand, what they are called.

Paths are those within bitmm/xwrap/.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bitmm"
XWRAP = PACKAGE / "xwrap"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: What a part of the package may import of the package, besides itself. A part is a module, or a folder with all that
#: is in it; for a module the longest name counts. What is not named here may not be imported and may not exist.
BASE = "__init__ codes errors money transport _http _fast_path _failures _deadline _retry_after _addresses _names"
CLIENT_PARTS = (
    "types _arguments _records _parsing _responses _api _following _registration _account _market_parsing _markets"
    " _history _history_parsing _rates _trading _batches _connected"
)
MAY_IMPORT = {
    "__init__": "",
    "codes": "",
    "errors": "codes",
    "money": "errors",
    "transport": BASE,
    "_http": BASE,
    "_fast_path": "_deadline",
    "_failures": "_deadline",
    "_deadline": "",
    "_retry_after": "",
    "_addresses": "",
    "_names": "",
    "_market_types": "",
    "_history_types": "",
    "types": "codes errors money _market_types _history_types",
    "_arguments": f"{BASE} types",
    "_records": f"{BASE} types",
    "_parsing": f"{BASE} types _records",
    "_responses": f"{BASE} _parsing",
    "_api": f"{BASE} types _arguments _records _parsing _responses",
    "_following": f"{BASE} types _arguments _records _parsing _api",
    "_registration": f"{BASE} types _arguments _parsing _responses _api _connected _following",
    "_connected": f"{BASE} _api",
    "_account": f"{BASE} types _arguments _parsing _connected _market_parsing",
    "_market_parsing": f"{BASE} types _records",
    "_history_parsing": f"{BASE} types _records",
    "_markets": f"{BASE} types _arguments _market_parsing _following _registration",
    "_rates": f"{BASE} types _arguments _parsing _connected _following",
    "_history": f"{BASE} types _arguments _records _parsing _history_parsing _registration",
    "_trading": f"{BASE} types _arguments _registration",
    "_batch_api": f"{BASE} _records _responses _api",
    "_batches": f"{BASE} types _arguments _parsing _batch_api _registration",
    "client": f"{BASE} {CLIENT_PARTS}",
    "ledger_csv": f"{BASE} types",
    "exchanges": BASE,
    "exchanges/contract": f"{BASE} exchanges testing",
    "server/db": f"{BASE} exchanges server/settings",
    "server/migrations": "server/db",
    "server": f"{BASE} exchanges",
    "serve_command": "server",
    "cli": f"{BASE} client ledger_csv exchanges server demo serve_command",
    "demo": f"{BASE} client server",
    "__main__": "cli serve_command",
    "testing": f"{BASE} client types exchanges server",
    "examples": "client testing",
    "testing/exchanges": "",
}

#: Third-party libraries that have one place, and that place.
ONE_PLACE = {
    "requests": "transport _http _failures exchanges/ccxt",
    "urllib3": "transport _http _fast_path _failures exchanges/ccxt",
    "sqlalchemy": "server/db server/migrations",
    "alembic": "server/db server/migrations",
    "psycopg": "server/db server/migrations",
    "sqlite3": "server/db server/migrations",
    "ccxt": "exchanges/ccxt",
}

#: Who looks into the environment: the settings; the command, which hands it to them; the client for its documented
#: XWRAP_URL, and for the certificates that other programs trust; the examples, as programs of users do.
READS_ENVIRONMENT = "server/settings cli serve_command _api transport examples"

MOST_LINES = 400
#: The contract is read from top to bottom, an exchange at a time; each local exchange is one program.
MAY_BE_LONG = "testing/exchange_contract testing/exchanges"

#: A word that stands nowhere in a name of ours: class, function, parameter, attribute, variable or module. With what is
#: said instead.
WORDS = {
    "brake": "throttle",
    "departed": "is_dead",
    "desk": "execution service",
    "doubt": "unknown",
    "gate": "authenticator",
    "gathering": "a name that says what is collected",
    "ground": "paper configuration",
    "house": "services",
    "indoors": "in_process",
    "lane": "request queue",
    "lanes": "rate limiter",
    "maybe": "optional",
    "meters": "counter store",
    "moves": "mutates",
    "nobody": "a name for what stands in for it",
    "orphan": "mark_abandoned",
    "passage": "request slot",
    "rank": "priority",
    "recognised": "match_by_details",
    "seat": "instance",
    "settle": "reconcile",
    "settled": "reconciled",
    "settler": "reconciler",
    "stuck": "is_blocked",
    "tells": "reports",
    "told": "reported, or the name of what is returned",
    "undecided": "unknown",
    "unfit": "bad_answer",
    "unsettled": "unknown",
    "widen": "back_off",
}

#: A class or function, parameter or attribute that is not called exactly so, with or without underscores before it.
NAMES = {
    "Access": "ExchangeContext",
    "Directory": "ExchangeRegistry",
    "EitherSpelling": "TrailingSlashMiddleware",
    "Guard": "OriginCheckMiddleware",
    "Link": "StatementRunner",
    "Listing": "Markets",
    "Memory": "TTLCache",
    "VERBS": "OPERATIONS",
    "Wrapper": "endpoint(view, pool=...)",
    "about": "help",
    "alone": "advisory_lock, process_lock",
    "appear": "heartbeat",
    "as_one": "atomic",
    "at_once": "no_throttle",
    "complaint": "describe_error",
    "directory": "registry",
    "finds": "order_lookup",
    "followed": "poll_until_final",
    "forget": "invalidate",
    "fresh": "is_new",
    "link": "the connection's or the runner's name",
    "lost": "unknown",
    "needs_url": "requires_url",
    "no_outcome": "unknown_or_refused",
    "no_such_address": "not_found",
    "opened": "the name of what is opened",
    "shape": "parse",
    "understood": "parsing_errors",
    "was_told": "reported",
}

#: Words that are good names of values, and bad ones of classes, functions and modules.
DEFINITIONS = {
    "Address": "MethodDispatch",
    "Answer": "Response, StoredAnswer",
    "Arrived": "LightResponse",
    "Book": "Ledger",
    "Bounded": "DeadlineConnection",
    "Call": "RequestContext, CallState",
    "Fields": "Params",
    "Line": "SessionAdapter",
    "Odd": "ProtocolError",
    "Page": "LedgerTransaction",
    "Source": "DeadlineReader",
    "Turn": "Throttle",
    "answering": "error handling in one middleware",
    "ask": "send",
    "can": "supports",
    "decided": "a name that says what is returned",
    "end": "finish",
    "enter": "post_entry",
    "fit": "apply",
    "forms": "params",
    "keep": "flush",
    "memory": "cache",
    "moment": "current_time",
    "move": "submit",
    "number": "parse_decimal, path_id, error_id, lock_id",
    "part": "savepoint",
    "registered": "open",
    "rest": "pop_rest",
    "room": "capacity",
    "running": "run_in_background",
    "serving": "runner",
    "sent": "a name that says what is returned",
    "table": "operations",
    "take": "pop",
    "tools": "a name that says which",
    "trade": "order_form",
    "turn": "acquire",
    "words": "describe_error",
}

#: What is called so for good: verbs of the command, and what the contract lets a test class state.
NAMES_THAT_STAY = {"orders_settle", "sends_settle", "tells_fee"}


def test_the_rules_name_only_what_there_is():
    places = [READS_ENVIRONMENT, MAY_BE_LONG, *MAY_IMPORT, *MAY_IMPORT.values(), *ONE_PLACE.values()]
    gone = {part for place in places for part in place.split() if not (XWRAP / part).is_dir()} - MODULE_NAMES
    gone |= NAMES_THAT_STAY - {name for path in MODULES for name, _ in names(path)}
    assert not gone, f"take these out of the rules: {gone}"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    """The path within bitmm/xwrap/, without its ending; a package is its folder: "exchanges/kraken/api", "server"."""
    name = path.relative_to(XWRAP).with_suffix("").as_posix()
    return name.removesuffix("/__init__")


MODULE_NAMES = {name_of(path) for path in MODULES}


def imports(path: Path) -> set[str]:
    """The absolute names that a module imports, wherever in it: within functions and for the type checker, too.

    An import within a function ties two modules as one at the top does: it hides a cycle from Python, not from readers.
    """
    package = ["bitmm", *path.relative_to(PACKAGE).parts[:-1]]
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1] if node.level else [])
            module = ".".join(filter(None, [base, node.module]))
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


@cache
def our_imports(path: Path) -> set[str]:
    """The modules of the package that a module imports: "exchanges/kraken/api". What is imported of a package's
    `__init__` is that package; that Python runs the packages above a module first counts for nothing.
    """
    ours = set()
    for name in imports(path):
        inner = name.removeprefix("bitmm.xwrap").lstrip(".").replace(".", "/")
        if name.startswith("bitmm.xwrap"):
            ours.add(inner if inner in MODULE_NAMES else inner.rpartition("/")[0] or "__init__")
    return ours


@cache
def reachable(name: str) -> set[str]:
    """The modules that a module imports, and those that they import, and so on."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        path = next(path for path in MODULES if name_of(path) == waiting[-1])
        waiting.pop()
        new = our_imports(path) - found
        found |= new
        waiting += new
    return found


def is_in(name: str, parts: str) -> bool:
    """Whether a module is one of these, or in one of these folders."""
    return any(name == part or name.startswith(f"{part}/") for part in parts.split())


def names(path: Path) -> Iterator[tuple[str, bool]]:
    """The names that a module gives, and its own; whether of a class, function or module. A test's is a sentence."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not node.name.startswith("test_"):
                yield node.name, True
        elif isinstance(node, ast.arg):
            yield node.arg, False
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, False
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, False
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, False
    yield path.stem, True


def words_of(name: str) -> set[str]:
    """{"lane", "book"} of LaneBook, _lane_book and LANE_BOOK."""
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))


def forbidden_imports(path: Path) -> set[str]:
    name = name_of(path)
    part = max((part for part in MAY_IMPORT if is_in(name, part)), key=len, default=None)
    if part is None:
        return {f"{name}: is in no part of MAY_IMPORT"}
    return {f"{name} -> {other}" for other in our_imports(path) if not is_in(other, f"{part} {MAY_IMPORT[part]}")}


def imports_of_an_exchange(path: Path) -> set[str]:
    """What is common to exchanges knows none of them, and they know nothing of each other."""
    name = name_of(path)
    if not is_in(name, "exchanges"):
        return set()
    own = exchange_of(name)
    others = {other for other in our_imports(path) if exchange_of(other) not in {None, own}}
    # The registry makes the class of "ccxt:ID", which is in no table.
    return {f"{name} -> {other}" for other in others if (name, exchange_of(other)) != ("exchanges", "exchanges/ccxt")}


def exchange_of(name: str) -> str | None:
    """The folder of the exchange that a module belongs to: "exchanges/kraken", "exchanges/historic/hub"."""
    found = re.match(r"exchanges/(historic/)?\w+(?=/|$)", name)
    return found[0] if found and (XWRAP / found[0]).is_dir() and found[0] != "exchanges/historic" else None


def cycles(path: Path) -> set[str]:
    name = name_of(path)
    return {f"{name} -> {other}" for other in our_imports(path) if other == name or name in reachable(other)}


def misplaced_libraries(path: Path) -> set[str]:
    name, roots = name_of(path), {imported.split(".")[0] for imported in imports(path)}
    return {f"{name}: {root}" for root in roots if root in ONE_PLACE and not is_in(name, ONE_PLACE[root])}


def looks_into_the_environment(path: Path) -> set[str]:
    name = name_of(path)
    looks = {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
    looks |= {imported.rpartition(".")[2] for imported in imports(path)}
    found = looks & {"environ", "environb", "getenv", "getenvb"}
    return {f"{name}: {word}" for word in found if not is_in(name, READS_ENVIRONMENT)}


def private_vocabulary(path: Path) -> set[str]:
    """The forbidden words and names that a module uses."""
    found = set()
    for name, is_definition in names(path):
        plain = name.lstrip("_")
        if plain in NAMES_THAT_STAY:
            continue
        found |= words_of(plain) & WORDS.keys()
        if plain in NAMES or (is_definition and plain in DEFINITIONS):
            found.add(plain)
    return found


every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


@every_module
def test_imports_point_one_way(path):
    found = forbidden_imports(path)
    assert not found, f"move what is shared into a lower layer; who may import what stands in MAY_IMPORT: {found}"


@every_module
def test_an_exchange_is_known_to_nothing_but_the_registry(path):
    found = imports_of_an_exchange(path)
    assert not found, f"move what they share into exchanges/; an exchange is one folder and one line: {found}"


@every_module
def test_no_two_modules_import_each_other(path):
    found = cycles(path)
    assert not found, f"these imports lead back to where they start; move what both need into a third module: {found}"


@every_module
def test_what_is_dangerous_has_one_room(path):
    found = misplaced_libraries(path)
    assert not found, f"the network and SQL have one place each, see ONE_PLACE: {found}"


@every_module
def test_the_environment_is_read_in_one_place(path):
    found = looks_into_the_environment(path)
    assert not found, f"make it a setting, server/settings.py reads them all: {found}"


@every_module
def test_a_module_has_one_job_and_at_most_400_lines(path):
    lines = len(path.read_text().splitlines())
    assert lines <= MOST_LINES or is_in(name_of(path), MAY_BE_LONG), "split it by job"


@every_module
def test_names_are_the_words_of_the_trade(path):
    found = private_vocabulary(path)
    terms = NAMES | DEFINITIONS | WORDS
    assert not found, "say " + "; ".join(f"{terms[word]!r} for {word!r}" for word in sorted(found))


def test_bitmm_is_a_namespace_that_others_may_share():
    assert not (PACKAGE / "__init__.py").exists()


def test_importing_the_client_draws_in_requests_and_the_standard_library_only():
    program = (
        "import sys, requests; before = set(sys.modules); import bitmm.xwrap.client; "
        "print(*sorted({n.split('.')[0] for n in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
        "; print(*sorted(n for n in sys.modules if n.startswith('bitmm')))"
    )
    environ = {"PYTHONPATH": ":".join([str(PACKAGE.parent), *sys.path])}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, check=True)
    foreign, ours = result.stdout.splitlines()
    assert foreign == "bitmm"
    assert not [name for name in ours.split() if "server" in name or "exchanges" in name]


@pytest.mark.parametrize("path", [path for path in MODULES if "testing/exchanges" not in path.as_posix()], ids=name_of)
def test_no_amount_passes_through_a_binary_fraction(path):
    """`float(` stands nowhere but where seconds to wait or a limiter's infinity are meant."""
    seconds = ('inf"', "retry_after", ".isdigit()", "calls a second")
    lines = [line.strip() for line in path.read_text().splitlines() if re.search(r"(?<!\w)float\(", line)]
    assert [line for line in lines if not any(word in line for word in seconds)] == []
