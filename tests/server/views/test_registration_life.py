"""The life of a registration: renamed, switched off and on, given another key, deleted. Its id and its journal stay."""

from __future__ import annotations

import json
import threading
import uuid
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.client import Backend
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.answers import text_of

#: Below the market, so that an order waits; Bitstamp takes none that is far below.
PRICE = {"kraken": 1000, "bitstamp": 28000}


@pytest.fixture(scope="module")
def kraken():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def bitstamp():
    with BitstampVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def server(serving, kraken, bitstamp):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
        urls = {"kraken": kraken.url, "bitstamp": bitstamp.url}
        limits = {"kraken": None, "bitstamp": None}
        offered = ("paper", "stub", "kraken", "bitstamp")
        with serving(
            exchanges=offered,
            exchange_urls=urls,
            exchange_limits=limits,
            reconcile_seconds=0.2,
            reconcile_grace_seconds=0.5,
            call_seconds=5.0,
        ) as server:
            yield server


def call(server, auth, method, path, **form):
    where = {"params" if method == "DELETE" else "data": form}
    return requests.request(method, f"{server.url}/exchanges/{path}", auth=auth, timeout=30, **where)


def patch(server, auth, id, **form):
    return call(server, auth, "PATCH", id, **form)


def shown(server, auth, id):
    return requests.get(f"{server.url}/exchanges/{id}", auth=auth, timeout=30).json()


def problem(answer):
    return answer.status_code, answer.json().get("code")


def audit(server, id):
    rows = server.sql(
        "SELECT what, details FROM audit_log WHERE subject = :subject ORDER BY id", subject=f"registration {id}"
    )
    return [(what, json.loads(details)) for what, details in rows]


def new_key(venue, *, same_account=False):
    """The form of a new key at a local exchange: of its first account, or of a new one."""
    key = uuid.uuid4().hex
    if same_account:
        venue.accounts[key] = venue.account
    else:
        venue.add_account(key, venue.secret)
    return {"apikey": key, "apisecret": venue.secret}


def registered(server, venue, name, **form):
    """An account and its registration with a key of the first account of a local exchange."""
    auth = server.account()
    form = {**new_key(venue, same_account=True), **form}
    if name == "bitstamp":
        form["username"] = "1234"
    return auth, server.registration(auth, name, **form)


def test_a_label_and_whether_it_is_enabled_are_changed_without_a_question_to_the_exchange(server, kraken):
    auth, id = registered(server, kraken, "kraken", label="first")
    before = len(kraken.requests)
    answer = patch(server, auth, id, label="second", enabled="false")
    assert (answer.json()["label"], answer.json()["enabled"]) == ("second", False)
    assert answer.json() == shown(server, auth, id)
    refused = call(server, auth, "POST", f"{id}/buy", currency="EUR", asset="BTC", amount="0.1")
    assert problem(refused) == (403, "registration_disabled")
    assert patch(server, auth, id, enabled="true").json()["enabled"] is True
    assert len(kraken.requests) == before
    assert audit(server, id) == [
        ("key.add", {"exchange": "kraken", "label": "first", "allow_send": "true"}),
        ("key.rename", {"from": "first", "to": "second"}),
        ("key.disable", {}),
        ("key.enable", {}),
    ]


def test_allow_send_is_changed_and_what_changes_nothing_is_not_in_the_audit(server):
    auth = server.account()
    id = server.registration(auth)
    assert patch(server, auth, id, allow_send="false").json()["allow_send"] is False
    assert patch(server, auth, id, allow_send="false", label="", enabled="true").status_code == 200
    assert audit(server, id)[1:] == [("key.allow_send", {"to": "false"})]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "nothing to change: give label, enabled, allow_send or a new key"),
        ({"lable": "x"}, "'lable' is not a field of this call"),
        ({"enabled": "perhaps"}, "must be true or false"),
        ({"label": "a\u202eb"}, "control or direction character"),
        ({"apikey": "x"}, "'apikey' is not a field of this call"),
        ({"force": "true", "label": "x"}, "'force' is not a field of this call"),
    ],
)
def test_what_is_no_change_is_refused(server, form, words):
    auth = server.account()
    id = server.registration(auth)
    answer = patch(server, auth, id, **form)
    assert problem(answer) == (422, "invalid_request")
    assert words in answer.json()["detail"]


def test_a_key_needs_its_whole_form_and_takes_no_other_field(server, kraken):
    auth, id = registered(server, kraken, "kraken")
    for form, field in (({"apikey": "x"}, "apisecret"), ({**new_key(kraken), "passphrase": "x"}, "passphrase")):
        answer = patch(server, auth, id, **form)
        assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_new_key_of_the_same_account_keeps_id_journal_open_orders_and_idempotency_keys(server, kraken):
    auth, id = registered(server, kraken, "kraken")
    backend = Backend(id, *auth, server.url)
    order = backend.buy("EUR", "BTC", "0.01", price=PRICE["kraken"], key="k1")
    form = new_key(kraken, same_account=True)
    answer = patch(server, auth, id, **form)
    assert (answer.status_code, answer.json()["apikey"]) == (200, f"{form['apikey'][:3]}…")
    assert [row["id"] for row in backend.orders("open")] == [order["id"]]
    assert backend.buy("EUR", "BTC", "0.01", price=PRICE["kraken"], key="k1")["id"] == order["id"]
    assert backend.cancel(order["id"])["status"] == "canceled"
    assert [*kraken.requests][-1].headers["api-key"] == form["apikey"]
    assert ("key.replace", {"same_account": "true", "other_account": "false", "force": "false"}) in audit(server, id)


def test_the_same_key_again_is_no_error_and_a_wrong_secret_changes_nothing(server, kraken):
    auth, id = registered(server, kraken, "kraken")
    form = new_key(kraken, same_account=True)
    for _ in range(2):
        assert patch(server, auth, id, **form).status_code == 200
    before = shown(server, auth, id)
    assert problem(patch(server, auth, id, **form | {"apisecret": "d3Jvbmc="})) == (403, "exchange_key_refused")
    assert shown(server, auth, id) == before
    assert Backend(id, *auth, server.url).balance()


def test_a_key_that_another_registration_has_is_refused(server, kraken):
    auth, id = registered(server, kraken, "kraken")
    form = new_key(kraken, same_account=True)
    other = server.registration(auth, "kraken", **form)
    answer = patch(server, auth, id, **form)
    assert problem(answer) == (409, "already_registered")
    assert answer.json()["registration"] == other


def test_a_key_that_may_withdraw_needs_allow_send_here_too(server, kraken, monkeypatch):
    auth, id = registered(server, kraken, "kraken")
    assert problem(patch(server, auth, id, allow_send="false", **new_key(kraken, same_account=True))) == (
        422,
        "key_may_send",
    )
    assert shown(server, auth, id)["allow_send"] is True, "all of it or nothing"
    assert patch(server, auth, id, allow_send="false").status_code == 200
    assert problem(patch(server, auth, id, **new_key(kraken, same_account=True))) == (422, "key_may_send")
    monkeypatch.setattr(kraken.account, "permissions", kraken.account.permissions - {"withdraw-funds"})
    assert patch(server, auth, id, **new_key(kraken, same_account=True)).json()["permissions"] == ["read", "trade"]


def test_a_key_of_another_account_is_said_so_where_the_exchange_tells(server, kraken):
    auth, id = registered(server, kraken, "kraken")
    form = new_key(kraken)
    answer = patch(server, auth, id, **form)
    assert problem(answer) == (409, "other_account")
    assert answer.json()["detail"] == (
        "Kraken says that this key is of another account there than the one before; register it as a key of its own, or"
        " say other_account=true if this registration is to go on at that account"
    )
    assert patch(server, auth, id, other_account="true", **form).status_code == 200


@pytest.mark.parametrize("name", ["kraken", "bitstamp"])
def test_open_orders_never_become_over_because_another_account_does_not_have_them(server, kraken, bitstamp, name):
    """Bitstamp does not tell the account of a key; an order that is not among the open ones is over there."""
    venue = {"kraken": kraken, "bitstamp": bitstamp}[name]
    auth, id = registered(server, venue, name)
    backend = Backend(id, *auth, server.url)
    order = backend.buy("EUR", "BTC", "0.01", price=PRICE[name])
    form = new_key(venue) | ({"other_account": "true"} if name == "kraken" else {"username": "1234"})
    answer = patch(server, auth, id, **form)
    assert problem(answer) == (409, "orders_unfinished")
    assert "1 open" in answer.json()["detail"]
    assert patch(server, auth, id, force="true", **form).status_code == 200
    assert backend.order(order["id"])["status"] == "open"
    assert [row["id"] for row in backend.orders("open")] == [order["id"]]
    assert problem(call(server, auth, "DELETE", f"{id}/orders/{order['id']}")) == (409, "other_account")
    assert backend.cancel_all() == 0
    assert backend.orders()[0]["status"] == "open"
    assert len(venue.open) >= 1


def test_where_the_account_is_not_told_an_order_that_the_new_key_shows_is_the_proof(server, bitstamp):
    auth, id = registered(server, bitstamp, "bitstamp")
    backend = Backend(id, *auth, server.url)
    backend.buy("EUR", "BTC", "0.01", price=PRICE["bitstamp"])
    backend.buy("EUR", "BTC", "0.01")
    assert patch(server, auth, id, **new_key(bitstamp, same_account=True)).status_code == 200
    assert ("key.replace", {"same_account": "true", "other_account": "false", "force": "false"}) in audit(server, id)
    assert backend.cancel_all() >= 1
    assert backend.orders("open") == []
    # The filled one is a proof, too.
    assert patch(server, auth, id, **new_key(bitstamp, same_account=True)).status_code == 200
    assert audit(server, id)[-1][1]["same_account"] == "true"


def test_with_nothing_open_a_key_is_replaced_where_nothing_is_told(server, bitstamp):
    auth, id = registered(server, bitstamp, "bitstamp")
    assert patch(server, auth, id, **new_key(bitstamp)).status_code == 200
    assert audit(server, id)[-1] == (
        "key.replace",
        {"same_account": "not known", "other_account": "false", "force": "false"},
    )
    order = Backend(id, *auth, server.url).buy("EUR", "BTC", "0.01")
    assert order["status"] == "filled", "what is begun with the new key is read as ever"


def test_an_unknown_order_is_never_called_not_placed_because_another_account_does_not_have_it(server, kraken):
    """It was executed, and its answer was lost; the reconciler would ask the other account."""
    auth, id = registered(server, kraken, "kraken")
    row = unknown_order(server, auth, id)
    form = new_key(kraken)
    assert problem(patch(server, auth, id, other_account="true", **form)) == (409, "orders_unfinished")
    assert patch(server, auth, id, other_account="true", force="true", **form).status_code == 200
    later = unknown_order(server, auth, id)
    wait_until(lambda: status_of(server, later) == "rejected")
    assert status_of(server, row) == "unknown", "this one is for its owner to settle"


def test_what_the_key_before_left_unknown_is_still_found_out_at_the_same_account(server, kraken):
    auth, id = registered(server, kraken, "kraken")
    row = unknown_order(server, auth, id)
    assert patch(server, auth, id, **new_key(kraken, same_account=True)).status_code == 200
    wait_until(lambda: status_of(server, row) == "rejected")


def unknown_order(server, auth, id):
    """The id of a row whose outcome is unknown, and which the exchange does not have."""
    from bitmm.xwrap.server.db.records import now

    key, time = uuid.uuid4().hex, now()
    server.sql(
        "INSERT INTO orders (registration_id, key, fingerprint, client_id, side, type, currency, asset, amount, status,"
        " created, updated, released, attempt) VALUES (:id, :key, '', :client_id, 'buy', 'market', 'EUR', 'BTC', '0.1',"
        " 'unknown', :time, :time, :no, 0)",
        id=id,
        key=key,
        client_id=str(uuid.uuid4()),
        time=time,
        no=False,
    )
    return server.sql("SELECT id FROM orders WHERE key = :key", key=key)[0][0]


def status_of(server, row):
    return server.sql("SELECT status FROM orders WHERE id = :id", id=row)[0][0]


def wait_until(condition):
    waiting = threading.Event()
    for _ in range(600):
        if condition():
            return
        waiting.wait(0.05)
    raise AssertionError("it did not come about within 30 s")


def test_under_load_no_call_fails_because_its_key_is_replaced(server, kraken, monkeypatch):
    # The keys of an account share its last nonce in the local exchange; at Kraken each has one of its own.
    monkeypatch.setattr(kraken, "nonce_window", 10**15)
    auth, id = registered(server, kraken, "kraken")
    backend, failures, done, over = Backend(id, *auth, server.url), [], [], threading.Event()
    backend.buy("EUR", "BTC", "0.001")
    before = len(kraken.ledger())

    def trade():
        while not over.is_set():
            try:
                done.append(backend.buy("EUR", "BTC", "0.001")["status"])
                backend.balance()
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=trade) for _ in range(4)]
    for thread in threads:
        thread.start()
    answers = [patch(server, auth, id, **new_key(kraken, same_account=True)).status_code for _ in range(10)]
    over.set()
    for thread in threads:
        thread.join()
    assert answers == [200] * 10
    assert not failures
    assert set(done) <= {"filled", "open"}
    assert len(kraken.ledger()) - before == len(done)


def test_an_order_that_has_not_begun_when_its_key_is_replaced_leaves_with_the_new_one(server, kraken, monkeypatch):
    """Its key was opened; the replacement is answered before its intent is committed."""
    from bitmm.xwrap.server.policy import Policy

    auth, id = registered(server, kraken, "kraken")
    form, admit = new_key(kraken, same_account=True), Policy.admit
    answers = []

    def replace_first(self, *args):
        if not answers:
            answers.append(patch(server, auth, id, **form).status_code)
        return admit(self, *args)

    monkeypatch.setattr(Policy, "admit", replace_first)
    assert Backend(id, *auth, server.url).buy("EUR", "BTC", "0.01")["status"] in {"filled", "open"}
    assert answers == [200]
    placed = [request for request in kraken.requests if request.path.endswith("/AddOrder")]
    assert placed[-1].headers["api-key"] == form["apikey"]


def test_a_deleted_registration_is_gone_its_journal_stays_and_its_key_may_come_again(server, kraken):
    auth, id = registered(server, kraken, "kraken", **(keys := new_key(kraken, same_account=True)))
    Backend(id, *auth, server.url).buy("EUR", "BTC", "0.01", key="k")
    assert call(server, auth, "DELETE", id).json() == {"id": id, "deleted": True}
    assert call(server, auth, "DELETE", id).json() == {"id": id, "deleted": True}, "twice is no error"
    assert problem(requests.get(f"{server.url}/exchanges/{id}", auth=auth, timeout=30)) == (404, "not_found")
    assert problem(patch(server, auth, id, label="x")) == (404, "not_found")
    assert requests.get(f"{server.url}/exchanges/", auth=auth, timeout=30).json() == []
    [row] = server.sql(
        "SELECT length(sealed_apikey), length(sealed_apisecret), length(sealed_more), deleted IS NULL"
        " FROM registrations WHERE id = :id",
        id=id,
    )
    assert tuple(map(int, row)) == (0, 0, 0, 0)
    assert server.sql("SELECT count(*) FROM orders WHERE registration_id = :id", id=id) == [(1,)]
    assert audit(server, id)[-1] == ("key.remove", {"exchange": "kraken", "label": "", "open": "0", "unknown": "0"})
    again = server.registration(auth, "kraken", **keys)
    assert again != id
    assert Backend(again, *auth, server.url).buy("EUR", "BTC", "0.01", key="k")["status"] in {"filled", "open"}


def test_of_what_is_not_ones_own_nothing_is_deleted_and_it_looks_like_nothing(server):
    auth = server.account()
    others = server.registration(server.account())
    gone = server.registration(stranger := server.account())
    assert call(server, stranger, "DELETE", gone).status_code == 200
    answers = [call(server, auth, "DELETE", id) for id in (others, gone, 10**9)]
    assert {answer.status_code for answer in answers} == {404}
    assert len({text_of(answer) for answer in answers}) == 1


def test_what_is_open_or_unknown_keeps_a_registration_unless_its_owner_lets_it_be(server, kraken, caplog):
    auth = server.account()
    id = server.registration(auth, "kraken", **new_key(kraken, same_account=True))
    row = unknown_order(server, auth, id)
    answer = call(server, auth, "DELETE", id)
    assert problem(answer) == (409, "orders_unfinished")
    assert answer.json()["detail"] == (
        f"registration {id} was not deleted, and of its orders and sends 1 running or unknown; cancel what is open and"
        " wait until the rest is known, or say force=true: then they are not asked about any more"
    )
    assert call(server, auth, "DELETE", id, force="true").json() == {"id": id, "deleted": True}
    # A later order at the same exchange shows that the reconciler went on.
    other = server.registration(auth, "kraken", **new_key(kraken, same_account=True))
    later = unknown_order(server, auth, other)
    wait_until(lambda: status_of(server, later) == "rejected")
    assert status_of(server, row) == "unknown"
    assert "Traceback" not in caplog.text


def test_permissions_are_read_anew_and_kept(server, kraken, monkeypatch):
    auth, id = registered(server, kraken, "kraken")
    monkeypatch.setattr(kraken.account, "permissions", {"query-funds", "modify-trades"})
    assert shown(server, auth, id)["permissions"] == ["read", "send", "trade"]
    answer = requests.get(f"{server.url}/exchanges/{id}/permissions", auth=auth, timeout=30)
    assert answer.json() == ["read", "trade"]
    assert shown(server, auth, id)["permissions"] == ["read", "trade"]


def test_permissions_are_unsupported_where_the_exchange_does_not_tell(server):
    auth = server.account()
    id = server.registration(auth, "stub")
    answer = requests.get(f"{server.url}/exchanges/{id}/permissions", auth=auth, timeout=30)
    assert problem(answer) == (422, "unsupported")


def test_a_registration_that_does_not_open_hides_no_balance_of_another_and_gets_a_new_key(server, kraken):
    auth, id = registered(server, kraken, "kraken")
    paper = server.registration(auth)
    server.sql("UPDATE registrations SET sealed_apikey = :sealed WHERE id = :id", sealed=b"\x01nonsense", id=id)
    rows = {row["id"]: row for row in requests.get(f"{server.url}/balance", auth=auth, timeout=30).json()}
    assert Decimal(rows[paper]["balance"]["BTC"]) > 0
    assert rows[id]["balance"] == {}
    assert "cannot open the key of this registration" in rows[id]["error"]
    assert [row["id"] for row in requests.get(f"{server.url}/exchanges/", auth=auth, timeout=30).json()] == [id, paper]
    assert patch(server, auth, id, **new_key(kraken, same_account=True)).status_code == 200
    assert Backend(id, *auth, server.url).balance()
