"""The sums that the quota of orders reads are those of the rows of the journals, whatever becomes of a write."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.store import Store
from tests.support.databases import ORDER, add_registration, sql

SEND = {"asset": "BTC", "amount": "1", "address": "tb1qx"}
MOST_STEPS = 12
#: One for each time that a key may be begun: else `attempt` stays at the last of them.
CLIENT_IDS = [f"{attempt:032x}" for attempt in range(MOST_STEPS)]
STEPS = st.tuples(
    st.sampled_from(["orders", "withdrawals"]), st.sampled_from("abc"), st.sampled_from(["released", "kept", "undone"])
)


class UndoneError(Exception):
    """What makes a write fail after it has counted."""


def begin(store, account, step):
    """Begin a row, or one anew whose key was released; or do all of that in a write that is undone."""
    journal, key, end = step
    name, journal = journal, getattr(store, journal)

    def record(row):
        store.usage.add_placed(account, row["created"])
        if end == "undone":
            raise UndoneError

    try:
        intent = journal.begin(1, key, "f", ORDER if name == "orders" else SEND, CLIENT_IDS, record=record)
    except UndoneError:
        return
    if intent.is_new:
        journal.finish(intent.row, {"status": "rejected", "released": end == "released"})


def begun(where):
    """How often the rows of the journals were begun."""
    counts = [sql(where, f"SELECT sum(1 + attempt) FROM {name}")[0][0] for name in ("orders", "withdrawals")]
    return sum(count or 0 for count in counts)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=MOST_STEPS))
def test_the_sums_are_those_of_the_rows_also_after_a_restart(store, steps):
    for table in ("orders", "withdrawals", "placed", "registrations", "accounts"):
        sql(store.where, f"DELETE FROM {table}")
    add_registration(store)
    sql(store.where, "UPDATE registrations SET id = 1")
    [[account]] = sql(store.where, "SELECT id FROM accounts")
    for step in steps:
        begin(store, account, step)
    again = Store(store.where)
    assert store.usage.placed(account).begun == again.usage.placed(account).begun == begun(store.where)
    again.close()


@pytest.mark.parametrize(("ago", "counts"), [(0, 1), (86_400, 1), (90_000, 0)])
def test_an_hour_counts_until_its_end_is_a_day_ago(store, ago, counts):
    add_registration(store)
    [[account]] = sql(store.where, "SELECT id FROM accounts")
    store.usage.add_placed(account, now(ago))
    assert store.usage.placed(account).begun == counts
