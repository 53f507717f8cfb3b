"""The data base as a whole."""

from __future__ import annotations

from bitmm.xwrap.server.db.store import Store
from tests.support.threads import in_threads


def test_the_first_check_value_stays(store, where):
    others = [Store(where) for _ in range(4)]
    kept = in_threads(4, lambda number: others[number].sealed.check_value(lambda: b"%d" % number))
    assert len(set(kept)) == 1
    assert store.sealed.check_value() == kept[0]
    for other in others:
        other.close()
