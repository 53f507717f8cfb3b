"""`xwrap export`: the ledger as a file, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from decimal import Decimal

import pytest

from bitmm.xwrap.ledger_csv import COINTRACKING_COLUMNS, KOINLY_COLUMNS
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.command import one_line
from tests.support.shell import Shell


@pytest.fixture(scope="module")
def trader(reader):
    """A person with some history at paper, who only reads from now on."""
    reader.backend.buy("USD", "BTC", "0.1")
    reader.backend.sell("USD", "BTC", "0.05")
    return reader


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_and_json_have_every_field_and_add_up_to_the_balance(trader):
    rows = rows_of(trader.run("export").stdout)
    assert rows == [
        {name: "" if value is None else value for name, value in {**row, "backend": str(row["backend"])}.items()}
        for row in json.loads(trader.run("export", "--format", "json").stdout)
    ]
    totals = dict.fromkeys(trader.backend.balance(), Decimal(0))
    for row in rows:
        totals[row["asset"]] += Decimal(row["amount"]) - Decimal(row["fee"])
    assert totals == trader.backend.balance()
    assert list(rows[0]) == "backend exchange id time kind asset amount fee balance reference description".split()


@pytest.mark.parametrize(("name", "columns"), [("koinly", KOINLY_COLUMNS), ("cointracking", COINTRACKING_COLUMNS)])
def test_tax_tools_get_their_columns_once(trader, name, columns):
    rows = rows_of(trader.run("export", "--format", name).stdout)
    assert tuple(rows[0]) == columns
    assert len(rows) == 4
    assert name == "koinly" or {row["Exchange"] for row in rows} == {"Paper"}


def test_a_year_is_that_year_in_utc(trader):
    this = int(next(trader.backend.ledger())["time"][:4])
    assert trader.run("export", "--year", this).stdout == trader.run("export").stdout
    for year in (this - 1, this + 1):
        assert rows_of(trader.run("export", "--year", year).stdout) == []


def test_a_file_is_replaced_by_a_complete_one_or_left_as_it_was(trader, tmp_path):
    file = tmp_path / "ledger.csv"
    link = tmp_path / "link.csv"
    link.symlink_to(file)
    written = trader.run("export", "--out", link)
    assert written.stdout == f"{link} has 8 entries\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == trader.run("export").stdout
    file.write_text("before")
    # The account has no such registration, and nothing was read.
    one_line(trader.run("export", "--out", file, "--backend", "kraken"), "no registration 'kraken'")
    assert file.read_text() == "before"
    one_line(trader.run("export", "--out", tmp_path / "nowhere" / "file"), "No such file", "nothing was written")
    one_line(trader.run("export", "--out", "/dev/full"), "/dev/full: No space left on device")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.csv", "link.csv"]


def test_what_is_no_file_is_written_to_and_stays(trader, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert trader.run("export", "--out", pipe).returncode == 0
        assert os.read(reader, 65536).decode().startswith("backend,")
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_paper_money_is_left_out_beside_other_and_koinly_gets_one_wallet(serving, tmp_path):
    with (
        KrakenVenue() as venue,
        serving(
            exchanges=("paper", "kraken"), exchange_urls={"kraken": venue.url}, exchange_limits={"kraken": None}
        ) as server,
    ):
        shell = Shell(tmp_path, server.url, server.account())
        shell.log_in()
        one_line(shell.run("export"), "no registration", "xwrap key list")
        server.registration(shell.auth, "paper")
        server.registration(shell.auth, "kraken", apikey=venue.key, apisecret=venue.secret)
        alone = shell.run("export", "--format", "koinly")
        assert (alone.returncode, alone.stderr) == (0, "paper money is left out; name it by --backend\n")
        both = ("--backend", "paper", "--backend", "kraken")
        assert shell.run("export", "--format", "koinly", *both).returncode == 2
        exchanges = {row["Exchange"] for row in rows_of(shell.run("export", "--format", "cointracking", *both).stdout)}
        assert "Paper" in exchanges or exchanges == set()
        assert shell.run("export", *both, "--backend", "1").returncode == 0


def test_on_a_terminal_a_bar_shows_how_far_it_is_and_a_pipe_gets_none(trader, tmp_path):
    code, screen = trader.on_terminal("export", "--out", tmp_path / "ledger.csv")
    assert code == 0
    assert "reading the ledger of paper" in screen
    assert trader.run("export").stderr == ""
