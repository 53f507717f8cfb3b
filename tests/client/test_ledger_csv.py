"""A ledger as a file for tax tools: its columns, and that it adds up to the ledger as each tool adds."""

from __future__ import annotations

import csv
import io
import random
from decimal import Decimal

import pytest

from bitmm.xwrap.client import InvalidRequest
from bitmm.xwrap.ledger_csv import write_cointracking, write_koinly

D = Decimal


def entry(id, kind, asset, amount, fee="0", *, reference=None, time="2026-11-27T10:00:00.123456Z", description="row"):
    amount, fee = (None if value is None else D(value) for value in (amount, fee))
    common = {"balance": None, "reference": reference, "description": description}
    return {"id": id, "time": time, "kind": kind, "asset": asset, "amount": amount, "fee": fee, **common}


def written(write, entries, **options):
    file = io.StringIO(newline="")
    write(file, entries, **options)
    return list(csv.DictReader(io.StringIO(file.getvalue(), newline="")))


def shown(row):
    """The fields of a row that are not empty."""
    return {name: value for name, value in row.items() if value}


def number(row, name):
    value = D(row[name] or 0)
    assert value >= 0
    return value


def sums_of(rows, columns):
    added = {}
    for row in rows:
        for sign, name, currency in columns:
            if row[currency]:
                added[row[currency]] = added.get(row[currency], D(0)) + sign * number(row, name)
            else:
                assert not row[name]
    return {asset: amount for asset, amount in added.items() if amount}


def cointracking_sums(rows):
    """Bought less sold: the fee is a note."""
    columns = [(1, "Buy Amount", "Buy Currency"), (-1, "Sell Amount", "Sell Currency")]
    return sums_of(rows, columns)


def koinly_sums(rows):
    """Received less sent less the fee."""
    columns = [(1, "Received Amount", "Received Currency"), (-1, "Sent Amount", "Sent Currency")]
    return sums_of(rows, [*columns, (-1, "Fee Amount", "Fee Currency")])


def ledger_sums(entries):
    added = {}
    for one in entries:
        added[one["asset"]] = added.get(one["asset"], D(0)) + one["amount"] - one["fee"]
    return {asset: amount for asset, amount in added.items() if amount}


DEPOSIT = entry("1", "deposit", "EUR", "1000", "3.50", reference="d1", description="deposit")
BOUGHT = [
    entry("2", "fill", "BTC", "0.01", reference="t1", description="trade"),
    entry("3", "fill", "EUR", "-300", "0.78", reference="t1", description="trade"),
]
SENT = entry("4", "withdrawal", "BTC", "-0.0098", "0.0002", reference="w1", description="withdrawal")
EARNED = entry("5", "reward", "ETH", "0.001", description="staking")
TAKEN = entry("6", "fee", "EUR", "-5", reference="f1", description="fee")
TAKEN_BACK = entry("7", "withdrawal", "BTC", "0.0098", "-0.0002", reference="w1", description="withdrawal")
ALL = [DEPOSIT, *BOUGHT, SENT, EARNED, TAKEN, TAKEN_BACK]
TIME = "2026-11-27 10:00:00"


def test_cointracking_has_fees_in_its_amounts_and_notes_them():
    """As of cointracking.freshdesk.com, "Entering fees": buy 1 BTC for 500 USD and 5 USD fee: sell 505, fee 5."""
    rows = written(write_cointracking, ALL, exchange="Kraken")
    common = {"Exchange": "Kraken", "Date": TIME}

    def bought(amount, currency):
        return {"Buy Amount": amount, "Buy Currency": currency}

    def sold(amount, currency):
        return {"Sell Amount": amount, "Sell Currency": currency}

    def fee(amount, currency):
        return {"Fee": amount, "Fee Currency": currency}

    trade = {"Type": "Trade", **bought("0.01", "BTC"), **sold("300.78", "EUR"), **fee("0.78", "EUR")}
    trade |= {**common, "Comment": "trade t1"}
    withdrawal = {"Type": "Withdrawal", **sold("0.0100", "BTC"), **fee("0.0002", "BTC")}
    withdrawal |= {**common, "Comment": "withdrawal w1"}
    assert [shown(row) for row in rows] == [
        {"Type": "Deposit", **bought("996.50", "EUR"), **fee("3.50", "EUR"), **common, "Comment": "deposit d1"},
        trade,
        withdrawal,
        {"Type": "Reward / Bonus", **bought("0.001", "ETH"), **common, "Comment": "staking"},
        {"Type": "Other Fee", **sold("5", "EUR"), **common, "Comment": "fee f1"},
        {"Type": "Deposit", **bought("0.0100", "BTC"), **common, "Comment": "withdrawal w1"},
    ]
    assert cointracking_sums(rows) == ledger_sums(ALL)


def test_koinly_has_fees_beside_its_amounts():
    rows = written(write_koinly, ALL)

    def row(description, *, received=None, sent=None, fee=None, label=None):
        fields = {"Date": TIME, "Description": description} | ({"Label": label} if label else {})
        for name, value in (("Received", received), ("Sent", sent), ("Fee", fee)):
            if value:
                fields |= dict(zip((f"{name} Amount", f"{name} Currency"), value.split(), strict=True))
        return fields

    assert [shown(one) for one in rows] == [
        row("deposit d1", received="1000 EUR", fee="3.50 EUR"),
        row("trade t1", received="0.01 BTC", sent="300 EUR", fee="0.78 EUR"),
        row("withdrawal w1", sent="0.0098 BTC", fee="0.0002 BTC"),
        row("staking", received="0.001 ETH", label="reward"),
        row("fee f1", sent="5 EUR", label="cost"),
        row("withdrawal w1", received="0.0100 BTC"),
    ]
    assert koinly_sums(rows) == ledger_sums(ALL)


COINTRACKING = (
    "Type,Buy Amount,Buy Currency,Sell Amount,Sell Currency,Fee,Fee Currency,Exchange,Trade-Group,Comment,Date"
)
KOINLY = (
    "Date,Sent Amount,Sent Currency,Received Amount,Received Currency,Fee Amount,Fee Currency,Net Worth Amount,"
    "Net Worth Currency,Label,Description,TxHash"
)


@pytest.mark.parametrize(("write", "columns"), [(write_cointracking, COINTRACKING), (write_koinly, KOINLY)])
def test_the_columns_are_those_of_the_tools(write, columns):
    file = io.StringIO(newline="")
    write(file, [])
    assert file.getvalue() == columns + "\r\n"


def test_a_fee_in_a_third_currency():
    entries = [*BOUGHT[:1], entry("3", "fill", "EUR", "-300", reference="t1"), entry("4", "fee", "BNB", "-0.1")]
    entries[2]["reference"] = "t1"
    trade, fee = written(write_cointracking, entries)
    assert (trade["Type"], trade["Fee"], fee["Type"], fee["Sell Amount"]) == ("Trade", "", "Other Fee", "0.1")
    [row] = written(write_koinly, entries)
    assert (row["Sent Amount"], row["Fee Amount"], row["Fee Currency"]) == ("300", "0.1", "BNB")


def test_the_fee_of_paper_is_an_entry_of_the_trade():
    entries = [*BOUGHT[:1], entry("3", "fill", "EUR", "-300", reference="t1"), entry("4", "fee", "EUR", "-0.78")]
    entries[2]["reference"] = "t1"
    assert written(write_koinly, entries) == written(write_koinly, BOUGHT)
    assert written(write_cointracking, entries) == written(write_cointracking, BOUGHT)


@pytest.mark.parametrize("missing", ["amount", "fee"])
@pytest.mark.parametrize("write", [write_cointracking, write_koinly])
def test_an_entry_that_does_not_say_what_it_moved_is_refused_by_its_id(write, missing):
    with pytest.raises(InvalidRequest, match="the entry 3 of"):
        written(write, [BOUGHT[0], {**BOUGHT[1], missing: None}])


def test_a_time_of_another_zone_is_in_utc():
    [row] = written(write_koinly, [{**DEPOSIT, "time": "2026-11-27T10:00:00+02:00"}])
    assert row["Date"] == "2026-11-27 08:00:00"


def test_any_ledger_adds_up_as_each_tool_adds():
    """Also trades of many assets, fees above their amounts, and amounts that fees leave nothing of."""
    chance = random.Random(14)
    kinds = ("deposit", "withdrawal", "fill", "fill", "fill", "fee", "transfer", "reward", "other")

    def amount():
        return D(chance.choice((0, 1, -1))) * chance.choice(
            (D("0.1"), D("0.00000001"), D(chance.randrange(1000)) / 100)
        )

    for _ in range(500):
        entries = [
            entry(
                *(str(number), chance.choice(kinds), chance.choice(("BTC", "EUR", "BNB")), amount(), amount()),
                reference=chance.choice((None, "a", "b", "c")),
            )
            for number in range(chance.randrange(12))
        ]
        assert cointracking_sums(written(write_cointracking, entries)) == ledger_sums(entries)
        assert koinly_sums(written(write_koinly, entries)) == ledger_sums(entries)
