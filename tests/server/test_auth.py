"""Who is calling."""

from __future__ import annotations

import asyncio
import base64
import unicodedata

import pytest
import requests
from argon2 import extract_parameters

from bitmm.xwrap.server import auth as auth_module
from bitmm.xwrap.server import login_throttle
from bitmm.xwrap.server.auth import Authenticator, UnprovenLogin
from bitmm.xwrap.server.db.records import Account, Login
from bitmm.xwrap.server.passwords import Secret, hash_password, unmatched_hash, verify
from bitmm.xwrap.server.problems import Problem, too_busy


class Accounts:
    """Accounts in memory; the authenticator asks for nothing else."""

    def __init__(self):
        self.rows = {}
        self.asked = 0

    def add(self, name, password, *, active=True):
        self.rows[name] = Account(len(self.rows) + 1, name, hash_password(password), active)

    def find_login(self, name, registration=0):
        self.asked += 1
        return Login(self.rows[name]) if name in self.rows else None

    def rehash(self, account, old_hash, new_hash):
        raise AssertionError("no hash here needs to be made again")


class Parts:
    """What an authenticator needs: a store, threads and a count of failures. A call runs in the caller's thread."""

    credentials = None

    def __init__(self):
        self.accounts = Accounts()
        self.failures = 0

    async def run(self, pool, function, *args):
        assert pool == "passwords"
        await asyncio.sleep(0)  # The other tasks go on.
        return function(*args)

    def add(self, _login, _address):
        self.failures += 1


class Door:
    """An authenticator, and how a request logs in at it."""

    def __init__(self, parts, cache_seconds=300.0):
        self.authenticator = Authenticator(parts, parts, parts, cache_seconds)

    async def log_in(self, header, address="127.0.0.1"):
        headers = [] if header is None else [Secret(header)]
        self.authenticator.hold_off(headers, address)
        while True:
            try:
                return self.authenticator.recognize(headers, address)
            except UnprovenLogin as login:
                await self.authenticator.prove(login)

    def opens(self, header, address="127.0.0.1"):
        """The account that it opens."""
        return asyncio.run(self.log_in(header, address)).account

    def refuses(self, header, address="127.0.0.1"):
        with pytest.raises(Problem) as caught:
            asyncio.run(self.log_in(header, address))
        return caught.value

    def statuses(self, tries):
        """The statuses of many logins at the same time."""

        async def status(header, address):
            try:
                await self.log_in(header, address)
            except Problem as problem:
                return problem.status
            return 200

        async def at_once():
            return await asyncio.gather(*(status(*one) for one in tries))

        return asyncio.run(at_once())


def basic(name, password, encoding="utf-8"):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode(encoding)).decode()


RIGHT = basic("ann", "right password")


@pytest.fixture
def parts():
    parts = Parts()
    parts.accounts.add("ann", "right password")
    return parts


@pytest.fixture
def accounts(parts):
    return parts.accounts


@pytest.fixture
def door(parts):
    with pytest.MonkeyPatch.context() as patch:
        # With a random key, a refused try would take the place of another one in one run of a hundred.
        patch.setattr(auth_module.secrets, "token_bytes", bytes)
        return Door(parts)


@pytest.fixture
def hashes(monkeypatch):
    """Counts how often a password is really hashed."""
    calls = []
    verify = auth_module.verify
    monkeypatch.setattr(auth_module, "verify", lambda *args: calls.append(args) or verify(*args))
    return calls


@pytest.fixture
def quick_hashes(monkeypatch):
    """The same, where every password is wrong but one; no time passes."""
    calls = []

    def verify(password_hash, password):
        calls.append(password.text)
        return password_hash if password.text == "right password" else None

    monkeypatch.setattr(auth_module, "verify", verify)
    return calls


@pytest.fixture
def clock(monkeypatch):
    """The time of the throttle and the authenticator; it stands still until it is moved."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(auth_module, "time", clock)
    monkeypatch.setattr(login_throttle, "time", clock)
    return clock


def guesses(count, name="ann", address="127.0.0.1"):
    return [(basic(name, f"guess {number}"), address) for number in range(count)]


def test_the_right_password_opens(door):
    assert door.opens(RIGHT).name == "ann"


def test_a_verified_password_is_not_hashed_again_but_the_account_is_read_every_time(door, accounts, hashes):
    for _ in range(5):
        door.opens(RIGHT)
    assert len(hashes) == 1
    assert accounts.asked == 6, "the first call reads it again after the hash"


def test_a_login_that_is_used_is_hashed_once_and_one_that_is_not_is_hashed_again(door, quick_hashes, clock):
    for _ in range(100):
        door.opens(RIGHT)
        clock.now += 299
    assert len(quick_hashes) == 1
    clock.now += 2
    door.opens(RIGHT)
    assert len(quick_hashes) == 2


def test_a_changed_password_counts_at_once(door, accounts):
    door.opens(RIGHT)
    accounts.rows["ann"] = Account(1, "ann", hash_password("another one"), active=True)
    assert door.refuses(RIGHT).status == 401
    assert door.opens(basic("ann", "another one")).id == 1


def test_a_switched_off_account_is_out_at_once(door, accounts):
    door.opens(RIGHT)
    row = accounts.rows["ann"]
    accounts.rows["ann"] = Account(row.id, row.name, row.password_hash, active=False)
    assert door.refuses(RIGHT).status == 401


def test_an_unknown_user_costs_a_hash_and_looks_like_a_wrong_password(door, hashes):
    unknown = door.refuses(basic("unmatched", "x"))
    wrong = door.refuses(basic("ann", "x"))
    assert len(hashes) == 2
    assert (unknown.status, unknown.body, unknown.headers) == (wrong.status, wrong.body, wrong.headers)
    assert unknown.status == 401


def test_an_unknown_user_is_stopped_like_a_known_one(door, quick_hashes, clock):
    known = door.statuses(guesses(50, "ann"))
    clock.now += 2  # What is tried in all is tried by both.
    unknown = door.statuses(guesses(50, "unmatched"))
    assert known == unknown
    clock.now += 2
    last = [door.refuses(basic(name, "one more"), "127.0.0.1") for name in ("ann", "unmatched")]
    assert last[0].body == last[1].body
    assert last[0].headers == last[1].headers


def test_of_250_guesses_at_once_ten_are_hashed(door, quick_hashes, clock):
    statuses = door.statuses(guesses(250))
    assert len(quick_hashes) == 10
    assert (statuses.count(401), statuses.count(429)) == (10, 240)


def test_250_calls_with_the_right_password_at_once_are_all_let_in_and_hashed_once(door, quick_hashes, clock):
    assert door.statuses([(RIGHT, "127.0.0.1")] * 250) == [200] * 250
    assert len(quick_hashes) == 1


def test_a_wrong_password_that_is_repeated_is_hashed_once_and_does_not_use_up_the_tries(door, quick_hashes, clock):
    assert door.statuses([(basic("ann", "old password"), "127.0.0.1")] * 50) == [401] * 10 + [429] * 40
    assert len(quick_hashes) == 1
    assert door.opens(RIGHT).name == "ann"


@pytest.mark.parametrize("name", ["ann", "ann/bot1", "unmatched"])
def test_a_wrong_password_that_is_repeated_is_soon_refused_without_a_look_into_the_data_base(
    door, accounts, quick_hashes, clock, name
):
    again = basic(name, "old password")
    assert door.statuses([(again, "127.0.0.1")] * 50) == [401] * 10 + [429] * 40
    asked = accounts.asked
    assert door.statuses([(again, "127.0.0.1")] * 50) == [429] * 50
    assert accounts.asked == asked
    # From elsewhere, and after a minute, it is looked at: it may be the right one by now.
    assert door.refuses(again, "10.0.0.1").status == 401
    asked = accounts.asked
    clock.now += 61
    assert door.refuses(again).status == 401
    assert accounts.asked == asked + 1


def test_answers_to_failed_logins_are_five_milliseconds_apart_and_at_most_five_seconds_late(clock):
    paced = login_throttle.PacedAnswers()

    def delays(count, least=0.0):
        return [paced.delay(least) for _ in range(count)]

    assert delays(4) == pytest.approx([0, 0.005, 0.01, 0.015])
    assert delays(2, least=0.5) == [0.5, 0.5]
    assert delays(5000)[-1] == pytest.approx(5)
    clock.now += 6
    assert delays(2) == pytest.approx([0, 0.005])


def test_a_login_fails_after_a_tenth_of_a_second_whatever_was_done_about_it(parts, monkeypatch, clock):
    """A hash that takes 30 ms, one that takes 110, none as the password is known to be wrong, and a comparison."""
    hash_seconds = [0.03, 0.11, 0.03]

    def verify(_password_hash, _password):
        clock.now += hash_seconds.pop(0)

    monkeypatch.setattr(auth_module, "verify", verify)
    parts.accounts.add("off", "right password", active=False)
    door = Door(parts)
    refusals = [door.refuses(basic(name, "wrong")) for name in ("ann", "unmatched", "off", "ann", "ann/bot1")]
    assert [refusal.status for refusal in refusals] == [401] * 5
    assert [refusal.delay for refusal in refusals] == pytest.approx([0.07, 0.09, 0.07, 0.1, 0.1])
    assert not hash_seconds


def test_a_guesser_is_stopped_after_ten_tries_and_not_hashed_for(door, quick_hashes, clock):
    for header, address in guesses(10):
        assert door.refuses(header, address).status == 401
    stopped = door.refuses(RIGHT)
    assert stopped.status == 429
    assert int(stopped.headers["Retry-After"]) == 2
    assert len(quick_hashes) == 10
    clock.now += 61
    assert door.opens(RIGHT).name == "ann"


def test_who_comes_again_with_the_same_password_after_a_restart_is_let_in_while_others_guess(door, quick_hashes, clock):
    """The guessers have the right user's name and address, and the server has just started."""
    door.statuses(guesses(1000))
    assert door.refuses(RIGHT).status == 429
    clock.now += 2
    door.statuses([(basic("ann", f"another {number}"), "127.0.0.1") for number in range(1000)])
    assert door.opens(RIGHT).name == "ann"
    assert len(quick_hashes) == 11


def test_guesses_that_are_repeated_get_ten_more_tries_a_minute_and_no_more(door, quick_hashes, clock):
    for _ in range(29):
        door.statuses(guesses(100))
        clock.now += 2
    assert len(quick_hashes) == 20


def test_a_guesser_locks_out_neither_the_owner_elsewhere_nor_one_who_is_verified(door):
    door.opens(RIGHT, "10.0.0.1")
    door.statuses(guesses(20, address="10.0.0.1"))
    assert door.opens(RIGHT, "10.0.0.1").name == "ann"
    assert door.opens(RIGHT, "10.0.0.2").name == "ann"


def test_who_was_verified_before_is_let_in_after_a_pause_behind_the_address_of_200_guessers(door, quick_hashes, clock):
    """Also with a new address: it is the password that is known, by two bytes of its digest."""
    door.opens(RIGHT)
    clock.now += 1000
    door.statuses(guesses(2000))
    hashed = len(quick_hashes)
    assert door.opens(RIGHT).name == "ann"
    clock.now += 301
    door.statuses(guesses(2000, address="10.9.9.9"))
    assert door.opens(RIGHT, "10.9.9.9").name == "ann"
    assert hashed <= 11


def test_a_thousand_addresses_use_up_what_is_tried_in_all_and_lock_nobody_out(door, accounts, quick_hashes, clock):
    accounts.add("bob", "right password")
    door.opens(basic("bob", "right password"), "10.8.0.1")
    tries = [
        (basic("ann", f"guess {number}"), f"10.0.{number % 1000 // 250}.{number % 250}") for number in range(20_000)
    ]
    statuses = door.statuses(tries)
    assert statuses.count(401) == len(quick_hashes) - 1 == 10
    # From an address where it logged in before, a name has its own tries: also with a password that is new.
    bob = accounts.rows["bob"]
    accounts.rows["bob"] = Account(bob.id, "bob", hash_password("another one"), active=True)
    assert door.opens(basic("bob", "right password"), "10.8.0.1").name == "bob"
    # And who was not here since the start comes again.
    assert door.refuses(RIGHT, "10.7.0.1").status == 429
    clock.now += 2
    door.statuses([(basic("ann", f"another {address}"), address) for _, address in tries[:1000]])
    assert door.opens(RIGHT, "10.7.0.1").name == "ann"


def test_one_address_tries_many_names_thirty_times_a_minute(door, quick_hashes, clock):
    same_network = [f"2001:db8::{number:x}" for number in range(100)]
    for addresses in (["10.0.0.1"] * 100, same_network):
        for number, address in enumerate(addresses):
            door.statuses(guesses(1, f"user {number} at {address}", address))
            clock.now += 0.3
    assert len(quick_hashes) == 60, "whoever has one address of an IPv6 network has all"


def test_what_could_not_be_hashed_is_not_a_wrong_password(door, monkeypatch):
    with monkeypatch.context() as patch:

        def no_memory(password_hash, password):
            raise too_busy("server_busy", "no memory")

        patch.setattr(auth_module, "verify", no_memory)
        assert door.statuses([(RIGHT, "127.0.0.1")] * 3) == [503] * 3
    assert door.opens(RIGHT).name == "ann"


def test_a_caller_that_goes_away_while_its_password_is_hashed_ends_no_other_call(door, parts):
    """Both have the same password, and the first of them has it hashed."""
    started, go_on = asyncio.Event(), asyncio.Event()
    run = parts.run

    async def slow(*args):
        started.set()
        await go_on.wait()
        return await run(*args)

    async def work():
        parts.run = slow
        second_first = asyncio.create_task(door.log_in(RIGHT))
        await started.wait()
        waiting = asyncio.create_task(door.log_in(RIGHT))
        await asyncio.sleep(0)
        waiting.cancel()
        go_on.set()
        return await second_first

    assert asyncio.run(work()).name == "ann"


def test_a_header_is_known_while_its_login_is(door, clock, quick_hashes):
    def known(headers):
        return door.authenticator.known_scope(door.authenticator.header_digest(headers))

    assert known([Secret(RIGHT)]) is None
    door.opens(RIGHT)
    assert known([Secret(RIGHT)]) == "owner"
    assert known([Secret(RIGHT), Secret(RIGHT)]) is None
    assert known([]) is None
    clock.now += 301
    assert known([Secret(RIGHT)]) is None


def test_the_digest_of_a_header_is_that_of_the_whole_header_and_shows_nothing_of_it(door):
    digest, other = (door.authenticator.header_digest([Secret(text)]) for text in ("Basic YTpi", "Basic YTpj"))
    assert digest == door.authenticator.header_digest([Secret("Basic YTpi")]) != other
    assert b"YTpi" not in digest
    assert Door(Parts()).authenticator.header_digest([Secret("Basic YTpi")]) != digest


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
def test_a_header_that_is_not_basic_is_401(door, header):
    problem = door.refuses(header)
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


def test_one_name_and_password_open_in_every_form_of_unicode(server):
    """A keyboard may send "é" as one character or as two, and a space of another width."""
    server.account("rené", "café au lait")
    for form in ("NFC", "NFD"):
        name, password = (unicodedata.normalize(form, text) for text in ("rené", "café\N{NO-BREAK SPACE}au lait"))
        header = {"Authorization": basic(name, password)}
        assert requests.get(f"{server.url}/balance", headers=header, timeout=30).status_code == 200


def test_a_name_that_no_data_base_can_hold_is_a_wrong_one(server):
    header = {"Authorization": basic("ann\0/bot", "password")}
    assert requests.get(f"{server.url}/balance", headers=header, timeout=30).status_code == 401
    header = {"Authorization": basic("ann\0", "password")}
    assert requests.get(f"{server.url}/balance", headers=header, timeout=30).status_code == 401


def test_the_unmatched_hash_costs_what_any_other_costs_and_fits_no_password():
    unmatched = unmatched_hash()
    assert extract_parameters(unmatched) == extract_parameters(hash_password("a password"))
    assert verify(unmatched, Secret("a password")) is None
    assert unmatched_hash() != unmatched
