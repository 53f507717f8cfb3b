"""Signing in to the owner's page: who may, with which cookies, and when a session is over."""

from __future__ import annotations

import re

import pytest
import requests

from bitmm.xwrap.server import login_throttle
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.pages.cookies import form_token, new_token, token_digest
from bitmm.xwrap.server.pages.routes import PAGES
from tests.conftest import hashed
from tests.server.pages.visitor import Visitor, words
from tests.support.two_accounts import owned_rows

POSTS = [route.path for route in PAGES if "POST" in route.methods]
VIEWS = [route.path for route in PAGES if "GET" in route.methods and "{" not in route.path and "." not in route.path]
PLACES = {"id": "1", "order_id": "1", "row_id": "1", "name": "bot1"}


@pytest.fixture(scope="module")
def server(serving):
    with serving(hosts=("xwrap.example",)) as server:
        yield server


@pytest.fixture(scope="module")
def store(server):
    store = Store(server.database)
    yield store
    store.close()


@pytest.fixture
def visitor(server, auth, store):
    """Who is signed in, without a password that is hashed for it."""
    visitor, token = Visitor(server.url), new_token()
    store.sessions.add(token_digest(token), store.accounts.find(auth[0]))
    visitor.resume(token.text)
    return visitor


@pytest.fixture
def auth(server, store):
    name = f"user-{new_token().text[:8]}"
    store.accounts.add(name, hashed("correct horse battery"))
    return name, "correct horse battery"


def is_signed_in(visitor):
    return "Sign out" in words(visitor.get())


def test_who_signs_in_gets_a_cookie_that_no_script_and_no_other_site_can_use(server, auth):
    visitor = Visitor(server.url)
    visitor.get()
    answer = visitor.post("/page/sign-in", username=auth[0], password=auth[1])
    [first, _form] = answer.history[0].raw.headers.getlist("Set-Cookie")
    assert re.fullmatch(r"xwrap=[\w-]{43}; HttpOnly; Path=/; SameSite=strict", first)
    assert answer.history[0].status_code == 303
    assert answer.url == f"{server.url}/"


def test_under_the_name_of_another_machine_the_cookies_are_for_tls_and_this_host_alone(server, auth):
    visitor = Visitor(server.url, "xwrap.example")
    form = visitor.get()
    [cookie] = form.raw.headers.getlist("Set-Cookie")
    assert re.fullmatch(r"__Host-xwrap-form=[\w-]{43}; HttpOnly; Path=/; SameSite=strict; Secure", cookie)
    # A browser keeps none of it over plain HTTP; one that reached the proxy by TLS sends it.
    name, token = cookie.split(";")[0].split("=")
    headers = {"Host": "xwrap.example", "Origin": "http://xwrap.example", "Cookie": f"{name}={token}"}
    data = {"csrf": token, "username": auth[0], "password": auth[1]}
    answer = requests.post(f"{server.url}/page/sign-in", data=data, headers=headers, timeout=30, allow_redirects=False)
    first = answer.raw.headers.getlist("Set-Cookie")[0]
    assert re.fullmatch(r"__Host-xwrap=[\w-]{43}; HttpOnly; Path=/; SameSite=strict; Secure", first)


def test_a_browser_that_keeps_no_cookie_is_told_so(server, auth):
    answer = requests.post(f"{server.url}/page/sign-in", data={"username": "a", "password": "b"}, timeout=30)
    assert answer.status_code == 403
    assert "Your browser sent no cookie" in words(answer)


def test_a_wrong_password_and_an_unknown_name_get_the_same_words_and_no_session(server, auth):
    pages = []
    for name in (auth[0], "nobody"):
        visitor = Visitor(server.url)
        visitor.get()
        answer = visitor.post("/page/sign-in", username=name, password="wrong password")
        assert answer.status_code == 403
        assert "WWW-Authenticate" not in answer.headers
        assert "xwrap" not in visitor.cookies
        pages.append(words(answer))
    assert pages[0] == pages[1]
    assert "Wrong user name or password." in pages[0]


def test_the_form_has_the_same_tries_as_http_basic(serving, monkeypatch):
    monkeypatch.setattr(login_throttle, "_OF_PAIR", 2)
    with serving() as server:
        name, _password = server.account()
        visitor = Visitor(server.url)
        visitor.get()
        assert visitor.post("/page/sign-in", username=name, password="wrong 1").status_code == 403
        assert requests.get(f"{server.url}/account", auth=(name, "wrong 2"), timeout=30).status_code == 401
        answer = visitor.post("/page/sign-in", username=name, password="wrong 3")
        assert answer.status_code == 429
        assert re.search(r"Too many wrong passwords. Try again in \d+ seconds.", words(answer))
        assert int(answer.headers["Retry-After"]) > 0


def test_a_credential_does_not_sign_in_and_is_told_why(server, auth):
    bot = server.credential(auth[0], "send")
    answer = Visitor(server.url).sign_in(bot)
    assert answer.status_code == 403
    assert "Credentials are for programs." in words(answer)


def test_the_data_base_knows_the_digest_of_a_session_only(server, visitor):
    token = visitor.cookies["xwrap"]
    rows = server.sql("SELECT * FROM sessions")
    assert rows
    assert token not in str(rows)
    assert token != visitor.csrf
    assert token not in visitor.get().text


def test_who_signs_out_is_out_also_with_the_cookie_from_before(server, visitor):
    before = visitor.cookies["xwrap"]
    assert "Sign in" in words(visitor.post("/page/sign-out"))
    assert "xwrap" not in visitor.cookies
    visitor.resume(before)
    assert not is_signed_in(visitor)


def test_who_signs_in_again_has_another_session_and_the_one_before_is_over(server, auth, visitor):
    before = visitor.cookies["xwrap"]
    assert is_signed_in(visitor)
    visitor.session.cookies.set("xwrap-form", "token", domain="127.0.0.1")
    visitor.csrf = "token"
    visitor.post("/page/sign-in", username=auth[0], password=auth[1])
    assert visitor.cookies["xwrap"] != before
    assert is_signed_in(visitor)
    old = Visitor(server.url)
    old.resume(before)
    assert not is_signed_in(old)


def test_a_new_password_ends_every_session(server, auth, visitor):
    assert is_signed_in(visitor)
    patch = requests.patch(f"{server.url}/account", data={"password": "another password"}, auth=auth, timeout=30)
    patch.raise_for_status()
    assert not is_signed_in(visitor)


def test_a_password_that_the_administrator_sets_ends_every_session(auth, visitor, store):
    store.accounts.set_password(store.accounts.find(auth[0]).id, hashed("another password"))
    assert not is_signed_in(visitor)


def test_an_account_that_is_switched_off_has_no_session(server, auth, visitor):
    server.sql("UPDATE accounts SET active = :off WHERE name = :name", off=False, name=auth[0])
    assert not is_signed_in(visitor)


@pytest.mark.parametrize(("column", "seconds"), [("last_used", 1801), ("created", 43201)])
def test_a_session_ends_after_half_an_hour_without_use_and_after_twelve_hours(server, visitor, column, seconds):
    server.sql(f"UPDATE sessions SET {column} = :then", then=now(seconds))
    assert not is_signed_in(visitor)


@pytest.mark.parametrize(("column", "seconds"), [("last_used", 1700), ("created", 43100)])
def test_before_that_it_is_open_and_each_use_keeps_it(server, visitor, column, seconds):
    # Another process, which has not written its use yet.
    server.sql(f"UPDATE sessions SET {column} = :then", then=now(seconds))
    assert is_signed_in(visitor)


def test_another_server_process_takes_the_session(serving):
    with serving() as server:
        visitor = Visitor(server.url)
        visitor.sign_in(server.account())
    with serving(data=server.data) as server:
        visitor.url = server.url
        assert is_signed_in(visitor)


def test_an_account_has_twenty_sessions_at_most(server, auth, visitor, store):
    account = store.accounts.find(auth[0])
    for number in range(20):
        store.sessions.add(f"digest {number}", account)
    assert not is_signed_in(visitor)
    assert server.sql("SELECT count(*) FROM sessions WHERE account_id = :id", id=account.id) == [(20,)]


def test_signing_in_and_out_is_in_the_audit(server, auth):
    visitor = Visitor(server.url)
    assert "Overview" in words(visitor.sign_in(auth))
    visitor.post("/page/sign-out")
    rows = server.sql("SELECT what, who, address FROM audit_log WHERE who = :who ORDER BY id", who=auth[0])
    assert rows == [("session.open", auth[0], "127.0.0.1"), ("session.close", auth[0], "127.0.0.1")]


@pytest.mark.parametrize("csrf", ["", "0" * 64, "of another session"])
def test_no_form_is_taken_without_the_token_of_its_session(server, auth, visitor, csrf):
    if csrf == "of another session":
        csrf = form_token(new_token())
    before = owned_rows(server, auth[0])
    for path in POSTS:
        visitor.csrf = csrf
        answer = visitor.post(path.format(**PLACES), password=auth[1], username=auth[0])
        assert answer.status_code == 403, path
    assert owned_rows(server, auth[0]) == before
    assert len(POSTS) > 10


def test_a_form_whose_session_is_over_does_nothing_and_leads_to_the_sign_in(server, auth, visitor):
    server.sql("DELETE FROM sessions")
    before = owned_rows(server, auth[0])
    for path in set(POSTS) - {"/page/sign-in"}:
        answer = visitor.post(path.format(**PLACES))
        assert answer.url == f"{server.url}/?over=1", path
        assert "Your session is over." in words(answer)
    assert owned_rows(server, auth[0]) == before


def test_no_view_is_shown_to_who_is_not_signed_in(server):
    visitor = Visitor(server.url)
    for path in set(VIEWS) - {"/"}:
        answer = visitor.get(path, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        assert answer.text == ""


@pytest.mark.parametrize("path", ["/", "/page/keys", "/page/keys/999", "/page/style.css", "/page/icon.svg"])
def test_each_answer_lets_a_browser_run_nothing_and_tell_nobody(visitor, path):
    answer = visitor.get(path)
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri"
        " 'none'"
    )
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "<script" not in answer.text
    assert " style=" not in answer.text


LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_on_another_site_leads_to_the_sign_in_also_who_sends_a_cookie(server, visitor, site):
    answer = visitor.get("/", headers={"Sec-Fetch-Site": site, **LINK})
    assert answer.status_code == 200
    assert "You came from another site." in words(answer)
    assert "Sign out" not in words(answer)


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_a_link_on_another_site_leads_to_the_documentation(visitor, path):
    answer = visitor.get(path, headers={"Sec-Fetch-Site": "cross-site", **LINK})
    assert answer.status_code == 200
    assert "<html" in answer.text


@pytest.mark.parametrize("site", ["none", "same-origin", None])
def test_an_address_that_is_typed_or_kept_opens_the_page(server, visitor, site):
    answer = visitor.get("/page/keys", headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 200
    assert "Keys" in words(answer)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}),
        ("GET", "/", {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}),
        ("GET", "/", {"Origin": "https://elsewhere.example", **LINK}),
        ("GET", "/", {}),
        ("GET", "/docs", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}),
        ("GET", "/docs/style.css", LINK),
        ("GET", "/page/keys", LINK),
        ("GET", "/account", LINK),
        ("POST", "/", LINK),
        ("POST", "/page/sign-in", LINK),
        ("POST", "/page/freeze", LINK),
    ],
)
def test_nothing_else_that_another_site_sends_is_looked_at(server, visitor, method, path, headers):
    url = f"{server.url}{path}"
    headers = {"Sec-Fetch-Site": "cross-site", **headers}
    answer = visitor.session.request(method, url, headers=headers, data={"csrf": visitor.csrf}, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")
