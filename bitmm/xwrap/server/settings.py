"""The settings of a server, read once from the environment (and the command line) into a frozen object."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from platformdirs import user_data_path

from .._names import common_name
from ..errors import InvalidRequest
from ..exchanges import EXCHANGES
from ..exchanges.base import RateLimit
from ..money import exact
from ..transport import base_url
from .callers import Network, proxy_network

__all__ = ["Settings", "SettingsError", "SetupError"]

T = TypeVar("T")

MOST_WORKERS = 99
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_SETTINGS = (
    *("XWRAP_DATA_DIR", "XWRAP_MASTER_KEY_FILE", "XWRAP_DATABASE_URL", "XWRAP_HOSTS", "XWRAP_EXCHANGES"),
    *("XWRAP_PROXIES", "XWRAP_ADDRESS_WAIT_HOURS", "XWRAP_QUOTA_REGISTRATIONS", "XWRAP_QUOTA_ORDERS"),
    *("XWRAP_QUOTA_CREDENTIALS", "XWRAP_QUOTA_ADDRESSES", "XWRAP_QUOTA_OPEN_ORDERS"),
    *("XWRAP_LOG_LEVEL", "XWRAP_LOG_FORMAT", "XWRAP_WORKERS"),
    *("XWRAP_NOTICE_URL", "XWRAP_NOTICE_SECRET_FILE", "XWRAP_NOTICE_PRIVATE"),
    *("XWRAP_PAPER_PRICES", "XWRAP_PAPER_FUNDS"),
)
#: Settings of one exchange: its id follows.
_URL_PREFIX, _LIMIT_PREFIX = "XWRAP_EXCHANGE_URL_", "XWRAP_EXCHANGE_LIMIT_"
#: What others read: the client, and bitmm's own tests.
_OF_THE_CLIENT = (
    *("XWRAP_URL", "XWRAP_INSECURE"),
    *("XWRAP_USER", "XWRAP_PASSWORD", "XWRAP_PASSWORD_FILE", "XWRAP_PROFILE"),
)
_OF_TESTS = ("XWRAP_TEST_DATABASE_URL", "XWRAP_ROUND_TRIPS", "XWRAP_DISK_FAULTS")
_HOURS_OF_A_YEAR = 8760
#: What is said on the command line, not in the environment.
_OPTIONS = {"XWRAP_HOST": "--host", "XWRAP_PORT": "--port", "XWRAP_PLAIN_HTTP": "--plain-http"}
#: What an address begins with, as a path has it; a drive has one letter.
_ADDRESS = re.compile(r"\w[\w+.-]+:/")
#: Kubernetes describes a service called "xwrap" to every container beside it by such variables.
_OF_KUBERNETES = re.compile(r"XWRAP_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)", re.ASCII)


class SetupError(Exception):
    """Why the server cannot work here, in one line that says what to do."""


class SettingsError(SetupError):
    """A setting that cannot be used."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the server keeps its data, what it offers and how long it waits.

    `exchange_seconds`: how long one request to an exchange may take, connect to last byte; `call_seconds`: all
    requests of one call together. With the waiting before them this stays below the 24 s after which the client asks
    what became of its order. `stop_seconds`: how long a server that is stopped waits for what is in flight.
    `reconcile_seconds` pass between two rounds of the reconciler, in the first minute less; a request may take
    `reconcile_grace_seconds` to arrive after it was sent.
    `outbound_threads` wait for exchanges, at most `exchange_threads` of them for one exchange; `urgent_threads` are for
    cancels alone; `database_threads` do the rest. Of each, an account has no more than a share (see `shares`). A call
    that finds no thread for `queue_seconds`, or would wait longer than that in the queue of its exchange key, is
    answered 503 or 429 before anything was sent.
    A request's head must be complete after `head_seconds`, its body `body_seconds` after it was asked for, and its
    answer be taken after `answer_seconds`; a connection without a request is closed after `idle_seconds`. One address
    has at most `address_connections`, unless it is one of the `proxies`.
    """

    data: Path
    master_key_file: Path
    #: Of PostgreSQL; it may hold a password. None: SQLite, in the data folder.
    database_url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 8000
    plain_http: bool = False
    #: So many server processes share the port.
    workers: int = 1
    hosts: tuple[str, ...] = ()
    #: Whose X-Forwarded-For is believed.
    proxies: tuple[Network, ...] = ()
    exchanges: tuple[str, ...] = tuple(EXCHANGES)
    exchange_urls: Mapping[str, str] = field(default_factory=dict)
    #: What counts in place of the published limit: of calls by key, or where there is no such limit by address.
    exchange_limits: Mapping[str, RateLimit | None] = field(default_factory=dict)
    #: At what paper trades: a file of prices, or the id of the exchange whose prices of now they are.
    paper_prices: Path | str | None = None
    #: A market is looked at every so many seconds at most, when its prices are those of now.
    paper_look_seconds: float = 3.0
    paper_funds: Mapping[str, Decimal] = field(default_factory=lambda: {"USD": Decimal(200_000), "BTC": Decimal(1)})
    exchange_seconds: float = 7.0
    call_seconds: float = 15.0
    stop_seconds: float = 9.0
    reconcile_seconds: float = 3.0
    reconcile_grace_seconds: float = 20.0
    rate_seconds: float = 3.0
    rate_cache_seconds: float = 10.0
    outbound_threads: int = 256
    exchange_threads: int = 220
    urgent_threads: int = 32
    database_threads: int = 16
    queue_seconds: float = 2.0
    credential_cache_seconds: float = 300.0
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    answer_seconds: float = 30.0
    idle_seconds: float = 75.0
    address_connections: int = 256
    #: So long after it was added, an address may be sent to. An address keeps what was set when it was added.
    address_wait_seconds: float = 86400.0
    #: So many registrations an account may have; and so many orders and sends, together, it may place in 24 hours.
    registration_quota: int = 100
    order_quota: int = 20_000
    #: So many credentials an account may have, and addresses on its allow-list.
    credential_quota: int = 100
    address_quota: int = 1000
    #: So many orders of a registration may be open on paper.
    open_order_quota: int = 10_000
    #: From which level on the server logs; one of `LOG_LEVELS`.
    log_level: str = "INFO"
    #: How an entry is written; one of `LOG_FORMATS`.
    log_format: str = "text"
    #: Where notices are sent to, which may hold a secret; None: there are none. And the file of what signs them.
    notice_url: str | None = field(default=None, repr=False)
    notice_secret_file: Path | None = None
    #: The receiver may be at an address that is not public, and be reached by plain http.
    notice_private: bool = False

    @property
    def database(self) -> Path | str:
        """Return the SQLite file, or the URL of PostgreSQL."""
        return self.database_url or self.data / "xwrap.sqlite3"

    @property
    def state_file(self) -> Path:
        """Return the file that shows whether the data base has all that was written."""
        return self.data / ("postgresql.state" if self.database_url else "xwrap.sqlite3.state")

    def changed(self) -> dict[str, str]:
        """Return what differs from the defaults, as text; of what may hold a secret, that it is set."""
        texts = {}
        for each in fields(self):
            value = getattr(self, each.name)
            default = each.default if each.default_factory is MISSING else each.default_factory()
            if value != default:
                texts[each.name] = _setting_text(value) if each.repr else "set"
        return texts

    @classmethod
    def read(cls, environ: Mapping[str, str], *, data: Path | None = None, **given: Any) -> Settings:
        """Return the settings of `environ`; what is `given` (from the command line) wins. Raises SettingsError."""
        _check_names(environ)
        folder = _data_folder(data or _path(environ, "XWRAP_DATA_DIR") or user_data_path("xwrap"))
        values: dict[str, Any] = {
            "data": folder,
            "master_key_file": _path(environ, "XWRAP_MASTER_KEY_FILE") or folder / "master.key",
            "database_url": environ.get("XWRAP_DATABASE_URL") or None,
            "notice_url": environ.get("XWRAP_NOTICE_URL") or None,
            "notice_secret_file": _path(environ, "XWRAP_NOTICE_SECRET_FILE"),
            "notice_private": _switch(environ, "XWRAP_NOTICE_PRIVATE"),
            **_log_settings(environ),
        }
        if hosts := environ.get("XWRAP_HOSTS"):
            values["hosts"] = tuple(_names(hosts))
        if proxies := environ.get("XWRAP_PROXIES"):
            values["proxies"] = _proxies(proxies)
        if exchanges := environ.get("XWRAP_EXCHANGES"):
            values["exchanges"] = _offered(exchanges)
        if prices := environ.get("XWRAP_PAPER_PRICES"):
            values["paper_prices"] = _paper_prices(prices)
        if workers := environ.get("XWRAP_WORKERS"):
            values["workers"] = _workers(workers)
        if funds := environ.get("XWRAP_PAPER_FUNDS"):
            values["paper_funds"] = _funds(funds)
        if hours := environ.get("XWRAP_ADDRESS_WAIT_HOURS"):
            values["address_wait_seconds"] = _wait_seconds(hours)
        for name, variable in (
            ("registration_quota", "XWRAP_QUOTA_REGISTRATIONS"),
            ("order_quota", "XWRAP_QUOTA_ORDERS"),
            ("credential_quota", "XWRAP_QUOTA_CREDENTIALS"),
            ("address_quota", "XWRAP_QUOTA_ADDRESSES"),
            ("open_order_quota", "XWRAP_QUOTA_OPEN_ORDERS"),
        ):
            if quota := environ.get(variable):
                values[name] = _quota(variable, quota)
        values.update(given)
        settings = cls(**values)
        urls = _by_exchange(environ, _URL_PREFIX, settings.exchanges, base_url)
        limits = _by_exchange(environ, _LIMIT_PREFIX, settings.exchanges, _limit)
        return replace(
            settings,
            exchange_urls={**urls, **settings.exchange_urls},
            exchange_limits={**limits, **settings.exchange_limits},
        )


def _setting_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _check_names(environ: Mapping[str, str]) -> None:
    """Raise SettingsError for a variable that looks like a setting and is none: it would be without effect."""
    for name, text in environ.items():
        if not name.upper().startswith("XWRAP_") or not text:
            continue
        if name in {*_SETTINGS, *_OF_THE_CLIENT, *_OF_TESTS}:
            continue
        if name.startswith((_URL_PREFIX, _LIMIT_PREFIX)) or _OF_KUBERNETES.fullmatch(name):
            continue
        if name == "XWRAP_PORT" and text.startswith("tcp://"):  # Kubernetes, too
            continue
        if option := _OPTIONS.get(name.upper()):
            raise SettingsError(f"{name} is no setting; it is an option of the command: xwrap serve {option}")
        near = _nearest_name(name)
        meant = f"the option xwrap serve {_OPTIONS[near]}" if near in _OPTIONS else near
        advice = f"did you mean {meant}?" if near else f"the settings are {', '.join(_SETTINGS)}"
        raise SettingsError(f"{name} is no setting; {advice}")


def _nearest_name(name: str) -> str | None:
    """Return the setting, else the client's variable, else the option, whose name is nearest; None: none is near."""
    of_exchanges = (f"{prefix}{id.upper()}" for prefix in (_URL_PREFIX, _LIMIT_PREFIX) for id in EXCHANGES)
    for known in ((*_SETTINGS, *of_exchanges), _OF_THE_CLIENT, tuple(_OPTIONS)):
        rests = [each.removeprefix("XWRAP_") for each in known]
        if near := get_close_matches(name.upper().removeprefix("XWRAP_"), rests, 1):
            return f"XWRAP_{near[0]}"
    return None


def _log_settings(environ: Mapping[str, str]) -> dict[str, str]:
    values = {}
    for name, known in (("log_level", LOG_LEVELS), ("log_format", LOG_FORMATS)):
        if text := environ.get(variable := f"XWRAP_{name.upper()}"):
            named = {value.lower(): value for value in known}
            if text.lower() not in named:
                raise SettingsError(f'{variable} has "{text}"; write one of {", ".join(known)}')
            values[name] = named[text.lower()]
    return values


def _switch(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name, "")
    if text not in {"", "0", "1"}:
        raise SettingsError(f'{name} has "{text}"; write 1 or 0')
    return text == "1"


def _data_folder(folder: Path) -> Path:
    if _ADDRESS.match(str(folder)):
        # It may hold a password, and is not shown.
        raise SettingsError("the data folder is an address; that of PostgreSQL is given in XWRAP_DATABASE_URL")
    return folder


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    return Path(environ[name]).expanduser() if environ.get(name) else None


def _by_exchange(
    environ: Mapping[str, str], prefix: str, offered: tuple[str, ...], read: Callable[[str], T]
) -> dict[str, T]:
    """Return what `read` makes of the variables that are named by `prefix` and an exchange, by exchange.

    `read` raises InvalidRequest for a bad value. Raises SettingsError.
    """
    names = {prefix + re.sub(r"\W", "_", id).upper(): id for id in offered}
    found = {}
    for name, text in environ.items():
        if not name.startswith(prefix) or not text:
            continue
        if name not in names:
            raise SettingsError(f"{name} names no exchange that is offered; known are {', '.join(names)}")
        try:
            found[names[name]] = read(text)
        except InvalidRequest as error:
            raise SettingsError(f"{name}: {error}") from None
    return found


def _limit(text: str) -> RateLimit | None:
    if text == "none":
        return None
    calls = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6}(?:\.[0-9]{1,6})?)", text)
    refill = float(calls[2]) if calls else 0.0  # calls a second
    if not calls or not refill:
        raise InvalidRequest(
            f'"{text}" is no limit; write it like 20/0.5 (at most 20, falling by 0.5 a second), or none'
        )
    return RateLimit(int(calls[1]), refill)


def _wait_seconds(text: str) -> int:
    """Return the seconds of so many hours: 0 to a year."""
    hours = Decimal(text) if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4})?", text) else None
    if hours is None or hours > _HOURS_OF_A_YEAR:
        raise SettingsError(
            f'XWRAP_ADDRESS_WAIT_HOURS has "{text}"; write hours like 24 or 0.5, at most {_HOURS_OF_A_YEAR}'
        )
    return int(hours * 3600)


def _quota(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text):
        raise SettingsError(f'{name} has "{text}"; write a whole number, 0 to 9999999')
    return int(text)


def _workers(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]?", text):
        raise SettingsError(f'XWRAP_WORKERS has "{text}"; write a whole number, 1 to {MOST_WORKERS}')
    return int(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _proxies(text: str) -> tuple[Network, ...]:
    try:
        return tuple(proxy_network(name) for name in _names(text))
    except InvalidRequest as error:
        raise SettingsError(f"XWRAP_PROXIES: {error}") from None


def _offered(text: str) -> tuple[str, ...]:
    names = _names(text)
    for name in names:
        if name not in EXCHANGES and not name.startswith("ccxt:"):
            raise SettingsError(f"XWRAP_EXCHANGES names '{name}'; known are {', '.join(EXCHANGES)} and ccxt:ID")
    return tuple(names)


def _paper_prices(text: str) -> Path | str:
    """Return the id of an exchange, or else the path of a file."""
    return text if text in EXCHANGES or text.startswith("ccxt:") else Path(text).expanduser()


def _funds(text: str) -> dict[str, Decimal]:
    funds = {}
    for item in _names(text):
        name, _, amount = item.partition("=")
        # A name that has both cases is another one in upper case: kPEPE.
        name = common_name(name.strip()) if name in (name.upper(), name.lower()) else name.strip()
        try:
            funds[name] = exact(amount.strip())
        except ValueError:
            name = ""
        if not name or funds[name] < 0:
            raise SettingsError(f'XWRAP_PAPER_FUNDS has "{item}"; write it like USD=200000,BTC=1')
    return funds
