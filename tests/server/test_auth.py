"""Who is calling."""

from __future__ import annotations

import base64

import pytest
import requests

from bitmm.xwrap.server import auth as auth_module
from bitmm.xwrap.server.auth import Authenticator, hash_password
from bitmm.xwrap.server.db.records import Account
from bitmm.xwrap.server.problems import Problem


class Accounts:
    """Accounts in memory; the authenticator asks for nothing else."""

    def __init__(self):
        self.rows = {}
        self.asked = 0

    def add(self, name, password, *, active=True):
        self.rows[name] = Account(len(self.rows) + 1, name, hash_password(password), active)

    def find(self, name, registration=0):
        self.asked += 1
        return self.rows.get(name)

    def rehash(self, account, password_hash):
        raise AssertionError("no hash here needs to be made again")


def basic(name, password, encoding="utf-8"):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode(encoding)).decode()


@pytest.fixture
def accounts():
    accounts = Accounts()
    accounts.add("ann", "right password")
    return accounts


@pytest.fixture
def authenticator(accounts):
    return Authenticator(accounts, cache_seconds=300)


@pytest.fixture
def hashes(monkeypatch):
    """Counts how often a password is really hashed."""
    calls = []
    verify = auth_module._verify
    monkeypatch.setattr(auth_module, "_verify", lambda *args: calls.append(args) or verify(*args))
    return calls


def refused(authenticator, header, address="127.0.0.1"):
    with pytest.raises(Problem) as caught:
        authenticator.authenticate(header, address)
    return caught.value


def test_the_right_password_opens(authenticator):
    assert authenticator.authenticate(basic("ann", "right password"), "").account.name == "ann"


def test_a_verified_password_is_not_hashed_again_but_the_account_is_read_every_time(authenticator, accounts, hashes):
    for _ in range(5):
        authenticator.authenticate(basic("ann", "right password"), "")
    assert len(hashes) == 1
    assert accounts.asked == 5


def test_a_changed_password_counts_at_once(authenticator, accounts):
    authenticator.authenticate(basic("ann", "right password"), "")
    accounts.rows["ann"] = Account(1, "ann", hash_password("another one"), active=True)
    assert refused(authenticator, basic("ann", "right password")).status == 401
    assert authenticator.authenticate(basic("ann", "another one"), "").account.id == 1


def test_a_switched_off_account_is_out_at_once(authenticator, accounts):
    authenticator.authenticate(basic("ann", "right password"), "")
    row = accounts.rows["ann"]
    accounts.rows["ann"] = Account(row.id, row.name, row.password_hash, active=False)
    assert refused(authenticator, basic("ann", "right password")).status == 401


def test_an_expired_verification_is_hashed_again(accounts, hashes):
    authenticator = Authenticator(accounts, cache_seconds=0)
    authenticator.authenticate(basic("ann", "right password"), "")
    authenticator.authenticate(basic("ann", "right password"), "")
    assert len(hashes) == 2


def test_an_unknown_user_costs_a_hash_and_looks_like_a_wrong_password(authenticator, hashes):
    unknown = refused(authenticator, basic("nobody", "x"))
    wrong = refused(authenticator, basic("ann", "x"))
    assert len(hashes) == 2
    assert unknown.status == wrong.status == 401
    assert unknown.body == wrong.body


def test_a_guesser_is_stopped_after_ten_tries_and_not_hashed_for(authenticator, hashes):
    for _ in range(10):
        assert refused(authenticator, basic("ann", "guess"), "10.0.0.1").status == 401
    stopped = refused(authenticator, basic("ann", "right password"), "10.0.0.1")
    assert stopped.status == 429
    assert 1 <= int(stopped.headers["Retry-After"]) <= 61
    assert len(hashes) == 10


def test_a_guesser_locks_out_neither_the_owner_elsewhere_nor_one_who_is_verified(authenticator):
    authenticator.authenticate(basic("ann", "right password"), "10.0.0.1")
    for _ in range(10):
        refused(authenticator, basic("ann", "guess"), "10.0.0.1")
    assert authenticator.authenticate(basic("ann", "right password"), "10.0.0.1").account.name == "ann"
    assert authenticator.authenticate(basic("ann", "right password"), "10.0.0.2").account.name == "ann"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic YW5u",
        "Bearer abc",
        "Basic " + base64.b64encode(b"\xff:x").decode(),
    ],
)
def test_a_header_that_is_not_basic_is_401(authenticator, header):
    problem = refused(authenticator, header)
    assert problem.status == 401
    assert problem.body["code"] == "not_authenticated"
    assert problem.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize(("name", "password"), [("анна", "пароль и 密码"), ("ann b", "pass:with:colons"), ("ü", " ")])
def test_names_and_passwords_are_utf8_over_real_http(server, name, password):
    server.account(name, password)
    header = {"Authorization": basic(name, password)}
    assert requests.get(f"{server.url}/balance", headers=header, timeout=30).status_code == 200
    header = {"Authorization": basic(name, password + "x")}
    assert requests.get(f"{server.url}/balance", headers=header, timeout=30).status_code == 401


def test_a_name_and_a_password_in_latin_1_are_read_as_well(server):
    """`auth=(user, password)` of requests writes texts in Latin-1, as the client of 2013 did."""
    server.account("jürgen", "paßwörter")
    for password, status in (("paßwörter", 200), ("paßwörterx", 401)):
        answer = requests.get(f"{server.url}/balance", auth=("jürgen", password), timeout=30)
        assert answer.request.headers["Authorization"] == basic("jürgen", password, "latin-1")
        assert answer.status_code == status
