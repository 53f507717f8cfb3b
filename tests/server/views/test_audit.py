"""GET /audit: an account sees what was done with it, and nothing of others."""

from __future__ import annotations

import pytest
import requests

from bitmm.xwrap.client import InvalidRequest, XWrap


def test_an_account_sees_its_own_rows_and_no_others(server):
    ann, bob = server.account(), server.account()
    backend = XWrap(server.url).backend(server.registration(ann), *ann)
    backend.buy("USD", "BTC", "0.01", key="audited")
    rows = XWrap(server.url).audit(*ann)
    order = next(row for row in rows if row["what"] == "order.buy")
    assert (order["who"], order["address"], order["details"]["key"]) == (ann[0], "127.0.0.1", "audited")
    assert not [row for row in XWrap(server.url).audit(*bob) if row["what"] == "order.buy"]


def test_pages_and_times_choose_the_rows(server):
    auth = server.account()
    backend = XWrap(server.url).backend(server.registration(auth), *auth)
    for _ in range(3):
        backend.buy("USD", "BTC", "0.01")
    audit = XWrap(server.url).audit
    rows = [row for row in audit(*auth) if row["what"] == "order.buy"]
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert audit(*auth, limit=2) == audit(*auth)[:2]
    assert audit(*auth, before=rows[0]["id"])[0] == rows[1]
    assert audit(*auth, since=rows[1]["time"]) == rows[:2]
    assert audit(*auth, since="2999-01-01") == []


@pytest.mark.parametrize(
    "query", [{"since": "now"}, {"since": ""}, {"limit": "501"}, {"limit": "0"}, {"before": "-1"}, {"account": "1"}]
)
def test_what_cannot_be_asked_for_is_refused(server, auth, query):
    answer = requests.get(f"{server.url}/audit", params=query, auth=auth, timeout=30)
    assert (answer.status_code, answer.json()["field"]) == (422, next(iter(query)))


def test_a_time_that_is_no_text_is_refused_before_anything_is_sent():
    with pytest.raises(InvalidRequest):
        XWrap("http://localhost:1").audit("ann", "x", since=5)


def test_a_start_says_which_settings_differ_and_no_secret(serving):
    funds = {"XWRAP_PAPER_FUNDS": "USD=5", "XWRAP_EXCHANGE_URL_KRAKEN": "http://127.0.0.1:5"}
    with serving(environ=funds, exchanges=("paper", "kraken")) as server:
        [(subject, details)] = server.sql("SELECT subject, details FROM audit_log WHERE what = 'server.start'")
    assert subject.startswith("bitmm ")
    assert '"paper_funds": "USD=5"' in details
    assert '"exchange_urls": "kraken=http://127.0.0.1:5"' in details
    assert '"port": "0"' in details
    assert "log_level" not in details


def test_of_the_url_of_a_data_base_it_is_said_that_it_is_set():
    from bitmm.xwrap.server.settings import Settings

    changed = Settings.read({"XWRAP_DATABASE_URL": "postgresql://ann:canary@host/db"}).changed()
    assert changed["database_url"] == "set"
    assert "canary" not in str(changed)
