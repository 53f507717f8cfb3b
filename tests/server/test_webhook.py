"""The receiver of notices: the administrator's alone, at a public address, each notice signed and sent once."""

from __future__ import annotations

import json
import socket
import time

import pytest

from bitmm.xwrap.server.settings import Settings, SettingsError
from bitmm.xwrap.server.webhook import NotTakenError, Webhook, is_public, open_webhook, signature
from tests.support.receivers import SECRET, Receiver, write_secret

KEY = bytes(range(32))
BODY = '{"id":"1","kind":"test"}'


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


def settings(folder, **environ):
    return Settings.read(environ, data=folder)


PRIVATE = [
    *("127.0.0.1", "127.255.0.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%lo", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::1", "2001::7f00:1", "100::1", "4000::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_recognised_in_each_family(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses_are_let_through(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0x7f000001", "0", "localhost", "LOCALHOST"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]"),
    ],
)
def test_no_spelling_of_this_machine_is_connected_to(receiver, host):
    webhook = Webhook(f"http://{host}:{receiver.server_port}/", KEY, private=False)
    with pytest.raises(NotTakenError):
        webhook.send("1", BODY)
    webhook.close()
    assert receiver.got == []


def test_a_public_name_that_leads_to_a_private_address_is_not_connected_to(receiver, monkeypatch):
    looked_up = []

    def resolve(host, port, **_):
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.server_port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    webhook = Webhook("https://notices.example/", KEY, private=False)
    with pytest.raises(NotTakenError, match=r"may not be connected to at 127\.0\.0\.1"):
        webhook.send("1", BODY)
    webhook.close()
    assert looked_up == ["notices.example"]
    assert receiver.got == []


def test_what_is_connected_to_is_the_address_that_was_looked_at_and_no_other(receiver, monkeypatch):
    """A name server that answers otherwise the second time (rebinding) is asked once only."""
    answers = [["8.8.8.8", "127.0.0.1"], ["127.0.0.1"]]
    tried = []

    def resolve(host, port, **_):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, receiver.server_port)) for address in answers.pop(0)
        ]

    def connect(self, address):
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    webhook = Webhook("https://notices.example/", KEY, private=False)
    with pytest.raises(NotTakenError, match="refused"):
        webhook.send("1", BODY)
    webhook.close()
    assert tried == ["8.8.8.8"]
    assert len(answers) == 1


def test_no_proxy_of_the_environment_is_asked(receiver, monkeypatch):
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{receiver.server_port}")
    webhook = Webhook("https://127.0.0.1:1/", KEY, private=False)
    with pytest.raises(NotTakenError, match="may not be connected to"):
        webhook.send("1", BODY)
    webhook.close()
    assert receiver.got == []


def test_a_notice_is_signed_with_its_id_the_time_and_its_body(receiver):
    webhook = Webhook(receiver.url, KEY, private=True)
    assert webhook.send("abc", BODY) == 204
    webhook.close()
    [(headers, body)] = receiver.got
    assert body.decode() == BODY
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "abc"
    at = int(headers["webhook-timestamp"])
    assert abs(at - time.time()) < 60
    assert headers["webhook-signature"] == signature(KEY, "abc", at, BODY)


def test_the_signature_is_that_of_the_standards_own_example():
    """Standard Webhooks, "Signature scheme"; the values are those of its reference libraries' tests."""
    import base64

    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410, 429, 500, 503])
def test_any_answer_but_a_2xx_is_a_failure_and_no_redirect_is_followed(receiver, status):
    def elsewhere(handler):
        handler.send_response(status)
        handler.send_header("Location", receiver.url)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    receiver.answers = [elsewhere]
    webhook = Webhook(receiver.url, KEY, private=True)
    with pytest.raises(NotTakenError, match=f"answered {status}") as caught:
        webhook.send("1", BODY)
    webhook.close()
    assert "hidden" not in str(caught.value)
    assert len(receiver.got) == 1


def test_an_answer_that_never_ends_is_a_failure(receiver, monkeypatch):
    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:
            pass

    receiver.answers = [drip]
    webhook = Webhook(receiver.url, KEY, private=True)
    with pytest.raises(NotTakenError, match="more than 16 MiB"):
        webhook.send("1", BODY)
    webhook.close()


def test_without_a_url_there_is_no_receiver(tmp_path):
    assert open_webhook(settings(tmp_path)) is None


def test_a_url_and_a_secret_open_the_receiver(tmp_path):
    given = settings(
        tmp_path,
        XWRAP_NOTICE_URL="https://notices.example/x?token=hidden",
        XWRAP_NOTICE_SECRET_FILE=str(write_secret(tmp_path)),
    )
    webhook = open_webhook(given)
    assert webhook._secret == KEY
    assert "hidden" not in repr(given)
    assert "hidden" not in json.dumps(given.changed())
    assert given.changed()["notice_url"] == "set"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("notices.example", "is no URL"),
        ("ftp://notices.example/", "is no URL"),
        ("https:///path", "is no URL"),
        ("https://notices.example:99999/", "is no URL"),
        ("https://notices.example/a b", "is no URL"),
        ("https://notices.example/\u00e4", "is no URL"),
        ("https://ann:hidden@notices.example/", "holds a user"),
        ("https://notices.example/#part", "fragment"),
        ("http://notices.example/", "XWRAP_NOTICE_PRIVATE=1"),
        ("http://127.0.0.1:8900/", "XWRAP_NOTICE_PRIVATE=1"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(tmp_path, url, words):
    given = settings(tmp_path, XWRAP_NOTICE_URL=url, XWRAP_NOTICE_SECRET_FILE=str(write_secret(tmp_path)))
    with pytest.raises(SettingsError, match=words) as caught:
        open_webhook(given)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "secret", ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", SECRET[6:], "whsec_" + "A" * 400]
)
def test_a_secret_that_is_none_is_refused_without_showing_it(tmp_path, secret):
    path = write_secret(tmp_path, secret)
    given = settings(tmp_path, XWRAP_NOTICE_URL="https://n.example/", XWRAP_NOTICE_SECRET_FILE=str(path))
    with pytest.raises(SettingsError, match="openssl rand -base64 32") as caught:
        open_webhook(given)
    assert len(secret) < 8 or secret not in str(caught.value)


def test_a_secret_that_others_can_read_or_that_is_no_file_is_refused(tmp_path):
    path = write_secret(tmp_path)
    path.chmod(0o644)
    for where, words in ((path, "chmod 600"), (tmp_path / "none", "No such file"), (tmp_path, "no file")):
        given = settings(tmp_path, XWRAP_NOTICE_URL="https://n.example/", XWRAP_NOTICE_SECRET_FILE=str(where))
        with pytest.raises(SettingsError, match=words):
            open_webhook(given)


def test_a_url_without_a_secret_and_a_switch_that_is_none_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="needs XWRAP_NOTICE_SECRET_FILE"):
        open_webhook(settings(tmp_path, XWRAP_NOTICE_URL="https://n.example/"))
    with pytest.raises(SettingsError, match="write 1 or 0"):
        settings(tmp_path, XWRAP_NOTICE_PRIVATE="yes")
