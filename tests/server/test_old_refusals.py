"""The running server removes what was refused long ago, and takes that for no loss at its next start."""

from __future__ import annotations

import requests

from bitmm.xwrap.server.db.records import now
from tests.support.threads import until

FORM = {"currency": "USD", "asset": "BTC", "amount": "1000", "price": "9999999"}


def buy(server, auth, id, key, **more):
    url, headers = f"{server.url}/exchanges/{id}/buy", {"Idempotency-Key": key}
    return requests.post(url, {**FORM, **more}, headers=headers, auth=auth, timeout=30)


def test_an_old_refusal_is_removed_and_its_key_is_a_new_order(serving, tmp_path):
    with serving(tmp_path) as server:
        auth = server.account()
        id = server.registration(auth)
        assert buy(server, auth, id, "mine").json()["code"] == "insufficient_funds"
        for number in range(32):
            assert buy(server, auth, id, f"other {number}").status_code == 422
        server.sql("UPDATE orders SET created = :then, updated = :then", then=now(31 * 86_400))
        assert buy(server, auth, id, "mine").json()["code"] == "insufficient_funds"
    with serving(tmp_path) as server:
        until(lambda: server.sql("SELECT count(*) FROM orders") == [(32,)])
        assert server.sql("SELECT id FROM orders WHERE key = 'mine'") == []
        answer = buy(server, auth, id, "mine", amount="0.001", price="1")
        assert (answer.status_code, answer.json()["status"]) == (200, "open")
    with serving(tmp_path) as server:
        assert requests.get(f"{server.url}/ready", timeout=30).json().get("history_missing_since") is None
