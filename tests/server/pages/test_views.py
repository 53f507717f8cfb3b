"""The views of the owner's page: what they show, and what their forms do."""

from __future__ import annotations

import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest
import requests

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.server.pages import overview
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.server.pages.visitor import Visitor, words
from tests.server.pages.world import VIEWS, populate

NASTY = "<script>alert(1)</script>\"'&<b>"


@pytest.fixture(scope="module")
def world(serving):
    """A server with an account that has something in every view, its visitor, and the Kraken of one key."""
    with (
        KrakenVenue() as venue,
        serving(
            exchanges=("paper", "kraken"),
            exchange_urls={"kraken": venue.url},
            exchange_limits={"kraken": None},
            reconcile_grace_seconds=9999,
        ) as server,
    ):
        auth, id = populate(server, venue=venue, days=10)
        visitor = Visitor(server.url)
        visitor.sign_in(auth)
        yield server, visitor, auth, id, venue


@pytest.fixture
def server(world):
    return world[0]


@pytest.fixture
def visitor(world):
    return world[1]


@pytest.fixture
def auth(world):
    return world[2]


@pytest.fixture
def id(world):
    return world[3]


@pytest.fixture
def venue(world):
    return world[4]


class _Outline(HTMLParser):
    """What of a page shows whether people can use it, however they read it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_has_a_title_a_language_a_main_part_and_a_label_for_each_field(visitor, id, name):
    answer = visitor.get(VIEWS[name].replace("ID", str(id)))
    assert answer.status_code == 200
    outline = _Outline()
    outline.feed(answer.text)
    assert outline.all("html") == [{"lang": "en"}]
    assert re.search(r"<title>[\w ·]+ · XWrap</title>", answer.text)
    assert len(outline.all("main")) == len(outline.all("h1")) == 1
    assert {"class": "skip", "href": "#main"} in outline.all("a")
    labelled = {label.get("for") for label in outline.all("label")}
    fields = [each for each in outline.all("input", "select") if each.get("type") not in ("hidden", "checkbox")]
    assert all(field["id"] in labelled for field in fields)
    for form in outline.all("form"):
        assert form["action"].startswith("/")
        assert form["method"] in ("get", "post")
    assert answer.text.count('name="csrf"') == answer.text.count('method="post"')
    ids = [each["id"] for each in (attributes for _, attributes in outline.tags) if "id" in each]
    assert len(ids) == len(set(ids))
    assert not outline.all("script", "style", "iframe")
    assert all(
        "style" not in attributes and not any(key.startswith("on") for key in attributes)
        for _, attributes in outline.tags
    )


def test_the_overview_has_the_exact_worth_a_line_and_each_balance(server, visitor, auth):
    shown = words(visitor.get("/?currency=USD"))
    balance = requests.get(f"{server.url}/balance", auth=auth, timeout=30).json()
    for row in balance:
        for amount in row["balance"].values():
            assert f"{Decimal(amount).normalize():f}" in shown
    assert "paper · grid bot" in shown
    assert "kraken · savings" in shown
    assert "The figures of 10 days" in shown
    assert "Without a price in USD: " in shown
    assert "<polyline" in visitor.get("/").text
    assert "outcome of 1 order or send is unknown" in shown


def test_an_exchange_that_fails_says_why_and_the_others_stay(visitor, venue):
    venue.fault("maintenance", times=20)
    try:
        shown = words(visitor.get("/"))
    finally:
        venue.heal()
    assert "Without kraken · savings: see below." in shown
    assert "EService" in shown
    assert "Available" in shown


def test_an_exchange_that_is_slow_does_not_hold_the_page(visitor, venue, monkeypatch):
    monkeypatch.setattr(overview, "PAGE_SECONDS", 0.3)
    venue.fault("slow", times=20, seconds=20)
    try:
        shown = words(visitor.get("/"))
    finally:
        venue.heal()
    assert "Without kraken · savings: see below." in shown
    assert "paper · grid bot" in shown


def test_a_currency_that_is_no_name_is_refused_in_words(visitor):
    answer = visitor.get("/?currency=<b>")
    assert answer.status_code == 422
    assert "'currency' is '<b>', which is not the name of anything here" in words(answer)


def test_rates_stand_side_by_side_with_the_best_one_marked(visitor):
    answer = visitor.get("/page/rates?side=sell&amount=0.5&asset=btc&currency=usd")
    shown = words(answer)
    assert shown.count("best") == 2  # the caption has the word, too
    first = re.search(r'<tr class="best"><th scope="row">(\w+)', answer.text)[1]
    rows = re.findall(r'<th scope="row">(paper|kraken)', answer.text)
    assert rows[0] == first
    assert set(rows) == {"paper", "kraken"}


def test_a_pair_that_nobody_trades_is_said_with_what_is_traded(visitor):
    answer = visitor.get("/page/rates?side=buy&amount=1&asset=FOO&currency=USD")
    assert answer.status_code == 422
    assert "no exchange here has a market FOO/USD" in words(answer)


def test_an_order_is_canceled_with_its_form(server, visitor, auth, id):
    order = XWrap(server.url).backend(id, *auth).buy("USD", "BTC", "0.02", price="9000", key="to cancel")["id"]
    assert f'action="/page/orders/{id}/{order}/cancel"' in visitor.get("/page/orders").text
    answer = visitor.post(f"/page/orders/{id}/{order}/cancel")
    assert answer.url.endswith("/page/orders")
    assert answer.history[0].status_code == 303
    assert f"Order {order} is canceled." in words(answer)
    assert f"Order {order} is canceled." not in words(visitor.get("/page/orders"))
    [(what,)] = server.sql("SELECT what FROM audit_log WHERE subject = :s AND what LIKE '%cancel%'", s=f"order {order}")
    assert what == "order.cancel"


def test_all_orders_of_a_registration_are_canceled_with_one_form(server, visitor):
    auth = server.account()
    backend = XWrap(server.url).create_backend(*auth, "paper", "x", "", "")
    for price in ("9000", "9001"):
        backend.buy("USD", "BTC", "0.01", price=price)
    other = Visitor(server.url)
    other.sign_in(auth)
    answer = other.post(f"/page/orders/{backend.id}/cancel-all")
    assert "2 open orders canceled." in words(answer)
    assert backend.orders("open") == []


def test_what_is_unknown_is_shown_with_what_is_known_and_decided_as_the_command_does(server, visitor, auth, id):
    [(order,)] = server.sql("SELECT id FROM orders WHERE key = 'lost'")
    shown = words(visitor.get("/page/unknown"))
    assert f"Order {order}: buy 0.01 BTC for USD at 11000" in shown
    assert "xw-5f0e81" in shown
    wrong = visitor.post(f"/page/unknown/orders/{order}", **{"as": "maybe"})
    assert wrong.status_code == 422
    absent = visitor.post(f"/page/unknown/sends/{order}", **{"as": "done"})
    assert absent.status_code == 404
    answer = visitor.post(f"/page/unknown/orders/{order}", **{"as": "not-placed"})
    assert "The order is recorded as not placed." in words(answer)
    assert "Nothing is unknown." in words(answer)
    assert server.sql("SELECT status FROM orders WHERE key = 'lost'") == [("rejected",)]
    rows = server.sql("SELECT who, subject, details FROM audit_log WHERE what = 'settle'")
    assert rows == [(auth[0], f"order {order} of registration {id}", '{"as": "not-placed"}')]


def test_a_key_is_renamed_switched_off_and_on_and_asked_what_it_may(server, visitor, auth, id):
    url = f"{server.url}/exchanges/{id}"
    assert "Key" in words(visitor.post(f"/page/keys/{id}", label="other"))
    assert requests.get(url, auth=auth, timeout=30).json()["label"] == "other"
    shown = words(visitor.post(f"/page/keys/{id}", enabled="false"))
    assert "is off: neither an order nor a send leaves with it" in shown
    assert requests.get(url, auth=auth, timeout=30).json()["enabled"] is False
    assert "is on" in words(visitor.post(f"/page/keys/{id}", enabled="true"))
    assert "It may: read, send, trade." in words(visitor.post(f"/page/keys/{id}/check"))
    visitor.post(f"/page/keys/{id}", label="grid bot")


def test_a_key_is_replaced_after_it_was_tried_and_no_page_shows_it(server, visitor, auth, venue):
    [id] = [row["id"] for row in requests.get(f"{server.url}/exchanges?exchange=kraken", auth=auth, timeout=30).json()]
    form = visitor.get(f"/page/keys/{id}").text
    assert re.search(r'name="apisecret" type="password" autocomplete="new-password"', form)
    wrong = visitor.post(f"/page/keys/{id}/replace", apikey="wrong-key-123456", apisecret=venue.secret, label="")
    assert wrong.status_code == 403
    answer = visitor.post(f"/page/keys/{id}/replace", apikey=venue.key, apisecret=venue.secret)
    assert f"Key {id} was replaced." in words(answer)
    for page in (wrong, answer, visitor.get("/page/keys"), visitor.get("/page/audit")):
        assert venue.secret not in page.text
        assert "wrong-key-123456" not in page.text


def test_a_key_is_added_with_the_fields_of_its_exchange(server, visitor, auth):
    assert "New key at Kraken" in words(visitor.get("/page/new-key?exchange=kraken"))
    answer = visitor.post("/page/keys", exchange="paper", username="second", label="", apikey="")
    assert "The key at paper was added" in words(answer)
    assert visitor.get("/page/new-key?exchange=nowhere").status_code == 422


def test_the_password_of_a_new_credential_is_shown_once(server, visitor, auth):
    answer = visitor.post(
        "/page/credentials", name="shown once", scope="trade", pairs="BTC/USD", exchanges="", per_day=""
    )
    assert answer.status_code == 201
    [password] = re.findall(r"xwrap_[0-9A-Za-z]{46}", answer.text)
    assert requests.get(f"{server.url}/account", auth=(f"{auth[0]}/shown once", password), timeout=30).ok
    again = visitor.post("/page/credentials", name="shown once", scope="trade")
    assert again.status_code == 409
    for page in (again, visitor.get("/page/credentials"), visitor.get("/page/audit")):
        assert password not in page.text
    assert password not in str(server.sql("SELECT * FROM sessions"))
    assert "The credential shown once is revoked." in words(visitor.post("/page/credentials/shown%20once/revoke"))
    assert (
        requests.get(f"{server.url}/account", auth=(f"{auth[0]}/shown once", password), timeout=30).status_code == 401
    )


def test_a_freeze_needs_no_password_and_lifting_it_needs_the_accounts_own(server, visitor, auth):
    answer = visitor.post("/page/freeze")
    assert "The account is frozen." in words(answer)
    assert "is frozen since" in words(visitor.get("/page/keys"))
    bot = server.credential(auth[0], "send", "freezing")
    for password in ("wrong password", bot[1]):
        refused = visitor.post("/page/unfreeze", password=password)
        assert refused.status_code == 403
        assert requests.get(f"{server.url}/account", auth=auth, timeout=30).json()["frozen"]
    assert "is not frozen any more" in words(visitor.post("/page/unfreeze", password=auth[1]))
    assert requests.get(f"{server.url}/account", auth=auth, timeout=30).json()["frozen"] is None


def test_a_freeze_cancels_orders_where_that_is_wanted(server):
    auth = server.account()
    backend = XWrap(server.url).create_backend(*auth, "paper", "x", "", "")
    backend.buy("USD", "BTC", "0.01", price="9000")
    other = Visitor(server.url)
    other.sign_in(auth)
    assert "1 open order was canceled." in words(other.post("/page/freeze", cancel_orders="true"))
    assert backend.orders("open") == []


def test_the_switches_are_shown(visitor):
    assert "3600 seconds" in words(visitor.get("/page/freeze"))


def test_the_audit_is_read_page_by_page(server, visitor, auth):
    first = visitor.get("/page/audit")
    rows = server.sql(
        "SELECT count(*) FROM audit_log WHERE account_id = (SELECT id FROM accounts WHERE name = :n)", n=auth[0]
    )
    for number in range(60 - rows[0][0]):
        visitor.post("/page/keys/1", label=f"label {number}")
    first = visitor.get("/page/audit")
    assert first.text.count("<tr>") == 51
    older = re.search(r'href="(/page/audit\?before=\d+)"', first.text)[1]
    assert "key.add" in words(visitor.get(older))


def test_health_tells_when_an_exchange_answered_and_failed_and_asks_nobody(visitor, venue):
    venue.fault("maintenance", times=20)
    try:
        visitor.get("/")
    finally:
        venue.heal()
    asked = len(venue.requests)
    shown = words(visitor.get("/page/health"))
    assert len(venue.requests) == asked
    assert "savings" in shown
    assert "EService" in shown


def test_texts_of_people_are_shown_as_they_are_and_never_as_markup(server, visitor, auth):
    added = server.registration(auth, username="x2", label=NASTY)
    for page in (
        visitor.get("/"),
        visitor.get("/page/keys"),
        visitor.get(f"/page/keys/{added}"),
        visitor.get("/page/audit"),
        visitor.get("/page/orders"),
        visitor.get("/page/freeze"),
        visitor.get("/page/credentials"),
        visitor.post(f"/page/keys/{added}", label=NASTY + "2"),
    ):
        assert NASTY in words(page)
        assert "<script" not in page.text
        assert "<b>" not in page.text
    page = visitor.get("/page/rates?side=buy&amount=1&asset=%22%3E%3Cscript%3E&currency=USD")
    assert "<script" not in page.text


@pytest.mark.parametrize(
    "path", ["/page/keys/999", "/page/keys/0", "/page/keys/1x", "/page/new-key", "/page/audit?before=5x"]
)
def test_what_is_not_there_is_said_in_words(visitor, path):
    answer = visitor.get(path)
    assert answer.status_code in (404, 422)
    assert "Not done" in words(answer)
    assert "Back to " in words(answer)
