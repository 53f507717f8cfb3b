"""`xwrap login`, `logout` and `profiles`, and who calls when several are said."""

from __future__ import annotations

import json
import stat

import pytest

pytest.importorskip("keyring", reason="of the test extra")

from bitmm.xwrap.client import XWrap
from tests.support.command import one_line
from tests.support.keyring_backend import DictKeyring, LockedKeyring


def profile_file(shell, name="default"):
    return shell.home / ".config/xwrap/profiles" / f"{name}.json"


@pytest.fixture
def password_file(tmp_path, auth):
    path = tmp_path / "password"
    path.write_text(f"{auth[1]}\n")
    path.chmod(0o600)
    return path


def test_a_login_is_kept_in_a_file_of_its_owner_alone_and_serves_the_other_commands(ann):
    assert stat.S_IMODE(profile_file(ann).stat().st_mode) == 0o600
    assert stat.S_IMODE(profile_file(ann).parent.stat().st_mode) == 0o700
    assert f"{ann.backend.id}\tpaper\tUSD\t200000\n" in ann.run("balance").stdout
    assert ann.run("profiles").stdout == f"default\t{ann.url}\t{ann.auth[0]}\tfile\n"
    assert ann.run("logout").stdout == "the profile 'default' is forgotten\n"
    assert not profile_file(ann).exists()
    one_line(ann.run("balance"), "there is no login", "xwrap login", "XWRAP_USER")
    one_line(ann.run("logout"), "there is no profile 'default'")


def test_a_password_that_the_server_does_not_take_is_not_kept(stranger):
    given = ("--server", stranger.url, "--account", stranger.auth[0], "--password-stdin")
    one_line(stranger.run("login", *given, stdin="mistaken\n"), "user name or password")
    one_line(stranger.run("login", *given, stdin=""), "there is none; nothing was sent")
    assert stranger.run("login", "--server", stranger.url, "--password-stdin", stdin="x\n").returncode == 2
    assert list(stranger.home.iterdir()) == []


def test_a_login_that_is_made_anew_takes_the_place_of_the_one_before(ann, server):
    ann.auth = server.account()
    ann.log_in()
    assert ann.run("profiles").stdout == f"default\t{ann.url}\t{ann.auth[0]}\tfile\n"
    assert ann.run("balance").stdout == ""


def test_a_profile_is_chosen_by_the_option_or_the_environment(ann, server):
    ann.auth = server.account()
    ann.log_in("--profile", "bob")
    assert ann.run("balance", "--profile", "bob").stdout == ann.run("balance", XWRAP_PROFILE="bob").stdout == ""
    assert "paper" in ann.run("balance").stdout
    assert "paper" in ann.run("balance", "--profile", "default", XWRAP_PROFILE="bob").stdout
    rows = json.loads(ann.run("profiles", "--json").stdout)
    assert [(row["profile"], row["user"]) for row in rows] == [("bob", ann.auth[0]), ("default", rows[1]["user"])]
    one_line(ann.run("balance", "--profile", "bbo"), "'bbo' (did you mean 'bob'?)", "login --profile bbo")
    ann.run("logout")
    one_line(ann.run("balance"), "there is no profile 'default'; there are bob")


@pytest.mark.parametrize("name", ["../../etc/x", ".hidden", "a b", "", "x" * 65])
def test_the_name_of_a_profile_is_no_path(ann, name):
    result = ann.run("login", "--profile", name, "--account", "x") if name else ann.run("logout", XWRAP_PROFILE="/")
    assert (result.returncode, "is no name of a profile" in result.stderr) == (2, True)


def test_the_accounts_own_password_is_taken_with_the_advice_to_use_a_credential(stranger, server):
    assert "xwrap credential add shell --scope trade" in stranger.log_in().stderr
    stranger.auth = server.credential(stranger.auth[0], "trade")
    result = stranger.log_in()
    assert "scope trade; the password is in" in result.stdout
    assert result.stderr == ""
    XWrap(server.url).create_backend(*server.account(), "paper", "", "", "")
    assert stranger.run("balance").returncode == 0
    assert "credential add" in stranger.run("login", "--help").stdout


def test_a_keyring_keeps_the_password_and_the_file_does_not(ann, monkeypatch):
    import keyring

    kept = DictKeyring()
    monkeypatch.setattr(keyring.core, "_keyring_backend", kept)
    assert ann.log_in().stdout.endswith("the password is in the keyring\n")
    assert ann.auth[1] not in profile_file(ann).read_text()
    assert ann.run("profiles").stdout.endswith("\tkeyring\n")
    assert "paper" in ann.run("balance").stdout
    kept.passwords.clear()
    one_line(ann.run("balance"), "keyring does not give the password", "xwrap login --profile default")
    ann.log_in()
    ann.run("logout")
    assert kept.passwords == {}


def test_a_keyring_that_does_not_work_is_as_none(ann, monkeypatch):
    import keyring

    monkeypatch.setattr(keyring.core, "_keyring_backend", LockedKeyring())
    assert str(profile_file(ann)) in ann.log_in().stdout
    assert "paper" in ann.run("balance").stdout
    assert ann.run("logout").returncode == 0


def test_the_environment_says_who_calls_without_a_profile(ann, password_file):
    ann.run("logout")
    environ = {"XWRAP_URL": ann.url, "XWRAP_USER": ann.auth[0]}
    assert "paper" in ann.run("balance", XWRAP_PASSWORD=ann.auth[1], **environ).stdout
    environ |= {"XWRAP_PROXIES": "10.0.0.0/8", "XWRAP_DATABASE_URL": "postgresql://db"}  # the server's own
    assert "paper" in ann.run("balance", XWRAP_PASSWORD_FILE=str(password_file), **environ).stdout
    assert ann.run("profiles").stdout == ""


def test_a_password_that_others_can_read_is_refused_with_the_command_that_mends_it(ann, password_file):
    environ = {"XWRAP_USER": ann.auth[0], "XWRAP_PASSWORD_FILE": str(password_file)}
    for path, variables in ((password_file, environ), (profile_file(ann), {})):
        for mode in (0o644, 0o640, 0o602):
            path.chmod(mode)
            one_line(ann.run("balance", **variables), f"chmod 600 {path}")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"XWRAP_USER": "ann", "XWRAP_PROFILE": "x"}, "XWRAP_USER and XWRAP_PROFILE"),
        ({"XWRAP_USER": "ann"}, "no password"),
        ({"XWRAP_PASSWORD": "canary"}, "set XWRAP_USER"),
        ({"XWRAP_PASSWORD_FILE": "/x"}, "set XWRAP_USER"),
        ({"XWRAP_USER": "ann", "XWRAP_PASSWORD": "canary", "XWRAP_PASSWORD_FILE": "x"}, "unset one"),
        ({"XWRAP_URL": "https://other.example"}, "unset XWRAP_URL"),
        ({"XWRAP_PROFLE": "live"}, "almost XWRAP_PROFILE;"),
        ({"XWRAP_PASSWORDFILE": "/x"}, "almost XWRAP_PASSWORD_FILE;"),
    ],
)
def test_an_environment_that_contradicts_itself_is_refused_before_a_password_leaves(reader, environ, words):
    result = reader.run("balance", **environ)
    assert (result.returncode, words in result.stderr, "canary" in result.stderr) == (2, True, False)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), ("", "the first line of"), (b"\xff\xfe", "no text in UTF-8")],
)
def test_a_password_file_that_cannot_be_used_is_one_line(reader, password_file, content, words):
    password_file.unlink() if content is None else password_file.write_bytes(content or b"\n")
    one_line(reader.run("balance", XWRAP_USER="ann", XWRAP_PASSWORD_FILE=str(password_file)), words, str(password_file))


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"url": 1, "username": "x", "password": "y"}'])
def test_a_profile_that_is_damaged_is_one_line(ann, text):
    profile_file(ann).write_text(text)
    one_line(ann.run("balance"), "is no profile any more", "xwrap login --profile default")


def test_where_nothing_can_be_kept_the_other_ways_are_named(stranger):
    given = ("login", "--server", stranger.url, "--account", stranger.auth[0], "--password-stdin")
    stdin = f"{stranger.auth[1]}\n"
    # Nothing can be made in a device, also not by root.
    one_line(stranger.run(*given, stdin=stdin, HOME="/dev/null"), "cannot be kept", "XWRAP_PASSWORD_FILE")
    one_line(stranger.run("balance", HOME="/dev/null"), "there is no login")
    assert stranger.run("rates", "USD", "BTC", HOME="/dev/null", XWRAP_URL=stranger.url).returncode == 0


def test_on_a_terminal_everything_is_asked_for_and_the_password_is_not_shown(ann):
    ann.run("logout")
    answers = {
        "localhost:8000]: ": f"{ann.url}\n",
        "User name: ": f"{ann.auth[0]}\n",
        f"{ann.auth[0]}: ": f"{ann.auth[1]}\n",
    }
    code, screen = ann.on_terminal("login", answers=answers)
    assert code == 0, screen
    assert ann.auth[1] not in screen
    assert "paper" in ann.run("balance").stdout


def test_commands_that_take_an_account_take_the_login_when_none_is_named(ann):
    assert ann.run("key", "list").stdout.endswith("play money\n")
    assert ann.run("credential", "list").returncode == 0
    assert ann.run("address", "list").returncode == 0
    assert ann.run("key", "list", "--server", ann.url).returncode == 2
    ann.run("logout")
    one_line(ann.run("key", "list"), "there is no login")
