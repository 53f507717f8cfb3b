"""An order's fields are listed once, beside the records; rows, records and answers follow."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.models import (
    ORDER_CONDITIONS,
    ORDER_FIELDS,
    WITHDRAWAL_FIELDS,
    NewOrder,
    NewWithdrawal,
    OrderState,
    Withdrawal,
)
from bitmm.xwrap.server.order_views import (
    check_key,
    check_repeat,
    foreign_order_to_json,
    key_answer,
    order_columns,
    order_intent,
    order_ref,
    refusal_columns,
    repeated_answer,
    row_to_json,
    success_answer,
    withdrawal_columns,
    withdrawal_intent,
)
from bitmm.xwrap.server.problems import Problem

ORDER = NewOrder("buy", "USD", "BTC", "c" * 32, amount=Decimal("1E-8"), price=Decimal("20000.50"))
STATE = OrderState("X1", "filled", filled=Decimal("1E-8"), average=Decimal(20000), spent=Decimal("0.0002"))
ROW = dict.fromkeys((*ORDER_FIELDS, *ORDER_CONDITIONS)) | {
    **order_intent(ORDER),
    "id": 7,
    "key": "k1",
    "client_id": "c" * 32,
    "fingerprint": "f",
    "status": "open",
    "exchange_order_id": "X1",
    "created": "2026-11-26T10:00:00.000000Z",
    "answer": None,
    "released": False,
}


def test_the_fields_of_an_order_and_a_withdrawal_stand_in_the_order_of_the_json():
    assert (
        "id key exchange_order_id side type currency asset amount price cost status filled average spent fee"
        " fee_currency reason created updated"
    ).split() == list(ORDER_FIELDS)
    assert "id key asset amount fee address tag network txid status created".split() == list(WITHDRAWAL_FIELDS)


def test_the_intent_has_what_was_asked_for_in_plain_digits():
    assert order_intent(ORDER) == {
        "side": "buy",
        "type": "limit",
        "currency": "USD",
        "asset": "BTC",
        "amount": "0.00000001",
        "price": "20000.50",
        "cost": None,
    }
    assert order_intent(replace(ORDER, price=None))["type"] == "market"
    assert withdrawal_intent(NewWithdrawal("XRP", Decimal(5), "r1", "c" * 32, tag="1")) == {
        "asset": "XRP",
        "amount": "5",
        "address": "r1",
        "tag": "1",
        "network": None,
    }


def test_the_outcome_has_what_the_exchange_reported_and_nothing_of_what_was_asked_for():
    assert order_columns(STATE) == {
        "exchange_order_id": "X1",
        "status": "filled",
        "filled": "0.00000001",
        "average": "20000",
        "spent": "0.0002",
        "fee": None,
        "fee_currency": None,
        "reason": None,
    }
    sent = Withdrawal("W1", "XRP", Decimal(5), "done", address="r1", fee=Decimal("0.1"), txid="t")
    assert withdrawal_columns(sent) == {
        "exchange_withdrawal_id": "W1",
        "status": "done",
        "fee": "0.1",
        "txid": "t",
    }


def test_a_row_leads_back_to_its_order_at_the_exchange():
    ref = order_ref(ROW)
    assert (ref.side, ref.client_id, ref.exchange_order_id) == ("buy", "c" * 32, "X1")
    assert (ref.amount, ref.price) == (Decimal("0.00000001"), Decimal("20000.50"))
    assert ref.created == datetime(2026, 11, 26, 10, tzinfo=UTC)


def test_what_is_running_is_shown_as_unknown_and_a_repeat_hears_that_it_runs():
    running = ROW | {"status": "running"}
    assert row_to_json(running, ORDER_FIELDS)["status"] == "unknown"
    for check in (lambda: check_repeat(running, "f"), lambda: check_key(running)):
        with pytest.raises(Problem) as caught:
            check()
        assert (caught.value.status, caught.value.code) == (409, "still_running")


def test_an_unknown_outcome_is_202_and_every_other_one_200():
    assert success_answer(ROW | {"status": "unknown"}, ORDER_FIELDS).status == 202
    assert success_answer(ROW, ORDER_FIELDS).status == 200


def test_an_order_placed_elsewhere_has_no_id_and_null_for_what_is_not_known():
    shown = foreign_order_to_json(replace(STATE, created=datetime(2026, 11, 26, tzinfo=UTC)))
    assert tuple(shown) == ORDER_FIELDS
    assert (shown["id"], shown["key"], shown["side"], shown["type"]) == (None, None, None, "market")
    assert shown["created"] == "2026-11-26T00:00:00Z"


def test_a_refusal_is_answered_again_and_what_was_executed_is_answered_from_its_row():
    problem = Problem(422, "insufficient_funds", "not enough")
    refused = ROW | {"status": "rejected"} | refusal_columns(ROW, problem)
    assert refused["reason"] == "not enough"
    again = repeated_answer(refused, ORDER_FIELDS)
    assert (again.status, json.loads(again.text)["code"]) == (422, "insufficient_funds")
    assert json.loads(key_answer(refused, ORDER_FIELDS).text)["error"]["code"] == "insufficient_funds"
    executed = refused | {"status": "filled"}
    for answer in (repeated_answer(executed, ORDER_FIELDS), key_answer(executed, ORDER_FIELDS)):
        assert (answer.status, json.loads(answer.text)["status"]) == (200, "filled")


def test_an_order_that_its_exchange_took_and_rejected_later_has_no_error():
    row = ROW | {"status": "rejected", "reason": "post only"}
    assert json.loads(key_answer(row, ORDER_FIELDS).text) == row_to_json(row, ORDER_FIELDS)
