"""The settings, from the environment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.server.settings import Settings, SettingsError

ROOT = Path(__file__).parents[2]


def refusal(**environ):
    with pytest.raises(SettingsError) as caught:
        Settings.read(environ)
    return str(caught.value)


@pytest.mark.parametrize("address", ["postgresql://ann:canary@host/x", "postgresql+psycopg://ann:canary@/x?host=/run"])
def test_an_address_is_no_data_folder_and_is_not_shown(address):
    words = refusal(XWRAP_DATA_DIR=address)
    with pytest.raises(SettingsError) as caught:
        Settings.read({}, data=Path(address))
    assert str(caught.value) == words
    assert "XWRAP_DATABASE_URL" in words
    assert "canary" not in words


@pytest.mark.parametrize("folder", ["C:/xwrap", "/srv/a:/b", "a:b", "xwrap"])
def test_a_folder_may_have_a_colon_in_its_name(folder):
    assert Settings.read({"XWRAP_DATA_DIR": folder}).data == Path(folder)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("XWRAP_DATADIR", "XWRAP_DATA_DIR"),
        ("XWRAP_DATA", "XWRAP_DATA_DIR"),
        ("XWRAP_DB_URL", "XWRAP_DATABASE_URL"),
        ("XWRAP_DATABASE_URI", "XWRAP_DATABASE_URL"),
        ("XWRAP_MASTER_KEY", "XWRAP_MASTER_KEY_FILE"),
        ("XWRAP_LOGLEVEL", "XWRAP_LOG_LEVEL"),
        ("XWRAP_EXCHANGE", "XWRAP_EXCHANGES"),
        ("XWRAP_EXCHANGES_URL_KRAKEN", "XWRAP_EXCHANGE_URL_KRAKEN"),
        ("XWRAP_LIMIT_KRAKEN", "XWRAP_EXCHANGE_LIMIT_KRAKEN"),
        ("XWRAP_PAPER_FUND", "XWRAP_PAPER_FUNDS"),
        ("XWRAP_ULR", "XWRAP_URL"),
        ("xwrap_hosts", "XWRAP_HOSTS"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest_one(name, meant):
    assert refusal(**{name: "x"}) == f"{name} is no setting; did you mean {meant}?"


def test_a_name_that_is_near_to_none_is_refused_with_all_of_them():
    words = refusal(XWRAP_COLOUR="red")
    assert "XWRAP_COLOUR is no setting; the settings are XWRAP_DATA_DIR, " in words
    assert words.endswith("XWRAP_PAPER_FUNDS")


def test_a_misspelt_option_is_refused_with_the_option():
    assert refusal(XWRAP_PROT="8100") == "XWRAP_PROT is no setting; did you mean the option xwrap serve --port?"


@pytest.mark.parametrize(
    ("name", "option"), [("XWRAP_HOST", "--host"), ("XWRAP_PORT", "--port"), ("XWRAP_PLAIN_HTTP", "--plain-http")]
)
def test_an_option_of_the_command_is_no_setting(name, option):
    assert refusal(**{name: "1"}) == f"{name} is no setting; it is an option of the command: xwrap serve {option}"


def test_every_name_that_the_code_and_the_documents_have_is_known():
    files = [*ROOT.rglob("bitmm/**/*.py"), *ROOT.rglob("bitmm/**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("tests/*.md")]
    files += [ROOT / ".github" / "CONTRIBUTING.md", *ROOT.glob("tests/stress/*")]
    texts = [file.read_text("utf-8") for file in files if file.is_file()]
    names = {name for text in texts for name in re.findall(r"\bXWRAP(?:_[A-Z]+)+\b", text)}
    # What the words of the refusals need, and not more.
    names -= {"XWRAP_HOST", "XWRAP_PORT", "XWRAP_PLAIN_HTTP"}
    assert len(names) > 10
    good = {"XWRAP_LOG_LEVEL": "INFO", "XWRAP_EXCHANGES": "paper,kraken,hub,mtgox", "XWRAP_PAPER_FUNDS": "USD=1"}
    good |= {"XWRAP_LOG_FORMAT": "json", "XWRAP_PROXIES": "127.0.0.1", "XWRAP_ADDRESS_WAIT_HOURS": "24"}
    good |= {"XWRAP_QUOTA_REGISTRATIONS": "1", "XWRAP_QUOTA_ORDERS": "1", "XWRAP_QUOTA_OPEN_ORDERS": "1"}
    good |= {"XWRAP_QUOTA_CREDENTIALS": "1", "XWRAP_QUOTA_ADDRESSES": "1", "XWRAP_NOTICE_PRIVATE": "1"}
    good |= {"XWRAP_WORKERS": "2", "XWRAP_DATA_DIR": "xwrap"}
    for name in names:
        value = good.get(name, "none" if "_LIMIT_" in name else "https://exchange.example")
        Settings.read({"XWRAP_EXCHANGES": good["XWRAP_EXCHANGES"], name: value})


def test_other_variables_are_nobodys_business_here():
    of_kubernetes = {
        "XWRAP_SERVICE_HOST": "10.0.0.1",
        "XWRAP_SERVICE_PORT": "8000",
        "XWRAP_SERVICE_PORT_HTTP": "8000",
        "XWRAP_PORT": "tcp://10.0.0.1:8000",
        "XWRAP_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "XWRAP_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    assert Settings.read({**of_kubernetes, "PATH": "/bin", "MY_XWRAP_HOST": "x", "XWRAP_FOO": ""}) == Settings.read({})


@pytest.mark.parametrize("text", ["DEBUG", "debug", "Info", "WARNING", "error"])
def test_a_log_level_is_taken_in_any_case(text):
    assert Settings.read({"XWRAP_LOG_LEVEL": text}).log_level == text.upper()


@pytest.mark.parametrize("text", ["json", "JSON", "text", "Text"])
def test_a_log_format_is_taken_in_any_case(text):
    assert Settings.read({"XWRAP_LOG_FORMAT": text}).log_format == text.lower()
    assert refusal(XWRAP_LOG_FORMAT="xml") == 'XWRAP_LOG_FORMAT has "xml"; write one of text, json'


@pytest.mark.parametrize("text", ["NOTSET", "WARN", "10", "loud"])
def test_another_log_level_is_refused_with_those_that_there_are(text):
    words = refusal(XWRAP_LOG_LEVEL=text)
    assert words == f'XWRAP_LOG_LEVEL has "{text}"; write one of DEBUG, INFO, WARNING, ERROR'


@pytest.mark.parametrize(("text", "seconds"), [("24", 86400), ("0.5", 1800), ("0", 0), ("8760", 31_536_000)])
def test_the_waiting_time_of_addresses_is_read_in_hours(text, seconds):
    assert Settings.read({"XWRAP_ADDRESS_WAIT_HOURS": text}).address_wait_seconds == seconds
    assert Settings.read({}).address_wait_seconds == 86400


@pytest.mark.parametrize("text", ["-1", "1h", "8760.5", "1e3", "٢٤", ".5", "nan"])
def test_another_waiting_time_is_refused(text):
    words = refusal(XWRAP_ADDRESS_WAIT_HOURS=text)
    assert words == f'XWRAP_ADDRESS_WAIT_HOURS has "{text}"; write hours like 24 or 0.5, at most 8760'


def test_the_quotas_are_whole_numbers():
    read = Settings.read({"XWRAP_QUOTA_REGISTRATIONS": "0", "XWRAP_QUOTA_ORDERS": "9999999"})
    assert (read.registration_quota, read.order_quota) == (0, 9_999_999)
    assert (Settings.read({}).registration_quota, Settings.read({}).order_quota) == (100, 20_000)
    read = Settings.read({"XWRAP_QUOTA_CREDENTIALS": "0", "XWRAP_QUOTA_ADDRESSES": "7"})
    assert (read.credential_quota, read.address_quota) == (0, 7)
    assert (Settings.read({}).credential_quota, Settings.read({}).address_quota) == (100, 1000)
    assert Settings.read({"XWRAP_QUOTA_OPEN_ORDERS": "100000"}).open_order_quota == 100_000
    assert Settings.read({}).open_order_quota == 10_000


@pytest.mark.parametrize("text", ["-1", "1.5", "1e3", "1_000", "10000000", "٢٤", "none"])
@pytest.mark.parametrize(
    "name",
    [f"XWRAP_QUOTA_{name}" for name in ("REGISTRATIONS", "ORDERS", "CREDENTIALS", "ADDRESSES", "OPEN_ORDERS")],
)
def test_another_quota_is_refused(name, text):
    assert refusal(**{name: text}) == f'{name} has "{text}"; write a whole number, 0 to 9999999'
