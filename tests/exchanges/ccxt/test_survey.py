"""The survey of ccxt's classes on sample answers: the short form, and that it believes nothing by itself.

The long form tries all classes: `python -m tests.exchanges.ccxt.survey`.
"""

from __future__ import annotations

import logging
import re

import pytest

library = pytest.importorskip("ccxt", reason="ccxt is not installed")

from bitmm.xwrap.exchanges.ccxt import instance  # noqa: E402 - it needs ccxt
from tests.exchanges.ccxt.survey import answers as survey_answers  # noqa: E402
from tests.exchanges.ccxt.survey import samples, table, trial  # noqa: E402

#: Of each way in which a class may differ, one: market buys by cost, one market at a time, a key for the markets, a
#: rate from the book, ids of three kinds, rows that are lists, samples alone and by hand, and what does not run.
SHORT = ("alpaca", "bitfinex", "coincheck", "coinsph", "coinspot", "cryptomus", "hitbtc", "kraken", "luno", "ndax")
SHORT += ("okx", "woo", "zaif", "zebpay")


@pytest.fixture(scope="module")
def stub():
    with trial.Stub() as stub:
        yield stub


@pytest.fixture(autouse=True)
def _no_warnings(caplog):
    caplog.set_level(logging.CRITICAL)


def in_readme():
    """The figures and the lines of the table in the README."""
    text = table._MARKS.search(table.README.read_text())[2]
    figures = [int(figure) for figure in re.findall(r"\d+", text.partition("\n\n")[0].partition(": ")[2])]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return text, figures, {name.strip("`"): cells for name, *cells in rows}


def is_current():
    return in_readme()[0].startswith(f"ccxt {library.__version__}:")


@pytest.mark.parametrize("id", SHORT)
def test_the_table_says_what_the_survey_finds(id, stub):
    if not is_current():
        pytest.skip("the table is of another version of ccxt")
    line = table.row(id, *trial.try_out(id, stub))
    assert line in in_readme()[0].splitlines(), "python -m tests.exchanges.ccxt.survey --write"


def test_the_figures_are_those_of_the_table_and_what_was_promised():
    if not is_current():
        pytest.skip("the table is of another version of ccxt")
    _, (passed, classes, alone, found), rows = in_readme()
    assert list(rows) == table.spot_classes()
    full = [id for id, cells in rows.items() if set(cells[:7]) == {"yes"}]
    assert (passed, classes) == (len(full), len(rows))
    assert alone == sum(rows[id][8] == "-" for id in full)
    assert found == sum(cells[7] == "yes" for cells in rows.values())
    assert passed >= 77
    assert alone >= 56
    assert found >= 18


@pytest.mark.parametrize(
    ("id", "name", "value", "operations"),
    [
        ("bitopro", "amount", "0.7", {"limit", "market"}),
        ("bitopro", "action", "SELL", {"limit", "market", "order", "open orders"}),
        ("bitopro", "price", "7", {"limit", "order", "open orders"}),
        ("bitopro", "id", "other", {"order", "open orders"}),
        ("cryptocom", "client_oid", "other", {"limit", "market"}),
    ],
)
def test_an_answer_about_another_order_is_no_success(id, name, value, operations, stub, monkeypatch):
    of_order = survey_answers.Told._of_order

    def lie(told, answer):
        of_order(told, answer)
        if isinstance(answer, dict) and name in answer:
            answer[name] = value

    honest, _ = trial.try_out(id, stub)
    monkeypatch.setattr(survey_answers.Told, "_of_order", lie)
    results, _ = trial.try_out(id, stub)
    assert {honest[operation].outcome for operation in operations} == {"yes"}
    assert {results[operation].outcome for operation in operations} == {"no"}


def test_an_amount_that_is_not_in_the_request_is_no_success(stub, monkeypatch):
    monkeypatch.setattr(trial, "_says", lambda sent, amount: False)
    results, _ = trial.try_out("cryptocom", stub)
    assert results["limit"].words.startswith("the amount")


def test_funds_and_open_orders_of_futures_are_no_success(stub, monkeypatch):
    """So they were asked for at Bybit, where ccxt takes futures for meant."""
    set_up = instance.Instance.__init__

    def by_default(made, *given):
        set_up(made, *given)
        made.ccxt.options["defaultType"] = "swap"

    monkeypatch.setattr(instance.Instance, "__init__", by_default)
    results, _ = trial.try_out("bybit", stub)
    assert results["open orders"].words.startswith("futures are asked for")
    assert results["order"].outcome == "yes"


def test_an_order_with_a_word_of_margin_is_no_success(stub, monkeypatch):
    monkeypatch.setattr(trial, "_MARGIN", re.compile("spot_margin"))
    results, _ = trial.try_out("cryptocom", stub)
    assert results["market"].words.startswith("spot_margin is in an order")


def test_a_request_without_a_sample_is_no_success(stub, monkeypatch):
    monkeypatch.setattr(survey_answers.Answers, "_of", lambda *_: None)
    results, by_hand = trial.try_out("cryptocom", stub)
    assert ({result.outcome for result in results.values()}, by_hand) == ({"no sample"}, 0)


@pytest.mark.parametrize(
    ("comment", "documents"),
    [
        ('{"a": 1, "b": [1, 2,],}', [{"a": 1, "b": [1, 2]}]),
        ("spot\n{'a': 'b', c: True, // a remark\n ...\n}", [{"a": "b", "c": True}]),
        ('{"a": 1}\nswap\n[{"a": 2}]', [{"a": 1}, [{"a": 2}]]),
        ("no document, {not: closed", []),
    ],
)
def test_documents_in_comments_are_read_as_people_write_them(comment, documents):
    assert [sample.document for sample in samples._samples_in(comment)] == documents


def test_every_answer_of_the_file_is_one_of_a_spot_class_and_says_where_it_comes_from():
    known = survey_answers.WRITTEN
    assert "MIT" in known[""]["source"]
    assert {*known} - {""} <= {*table.spot_classes()}
    for id, written in known.items():
        for answer in written.get("answers", {}).values():
            assert len(answer.keys() & {"by_hand", "nothing", "recorded", "sample"}) == 1, id
            if "recorded" in answer:
                assert re.search(r"\.json \S+, [0-9a-f]{40}$|\.py \S+, a comment in ccxt [\d.]+$", answer["source"]), id
