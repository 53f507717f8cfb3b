"""What a call on paper costs, counted: statements, derived ids, opened keys."""

from __future__ import annotations

import hmac

import pytest
import requests

from bitmm.xwrap.server import client_ids
from bitmm.xwrap.server.db.statements import StatementRunner
from bitmm.xwrap.server.vault import Vault

ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.001"}


class Bench:
    """A registration on paper, and how often what a call does is done."""

    def __init__(self, server, monkeypatch):
        self.auth = server.account()
        self.id = server.registration(self.auth, "paper")
        self.url = f"{server.url}/exchanges/{self.id}"
        self.counts = dict.fromkeys(("statements", "ids", "opened"), 0)
        for name in ("_execute", "change_each", "command"):
            self._count(monkeypatch, StatementRunner, name, "statements")
        monkeypatch.setattr(client_ids, "hmac", self)
        self._count(monkeypatch, Vault, "open", "opened")

    def digest(self, *args):
        self.counts["ids"] += 1
        return hmac.digest(*args)

    def _count(self, monkeypatch, kind, name, what):
        original = getattr(kind, name)

        def counting(*args):
            # A write for each of no rows is none.
            self.counts[what] += name != "change_each" or bool(args[-1])
            return original(*args)

        monkeypatch.setattr(kind, name, counting)

    def of(self, method, path, **more):
        """The counts of a call; what the server does by the clock beside it does not come every time."""
        found = []
        for number in range(3):
            before = dict(self.counts)
            headers = {"Idempotency-Key": f"{path}-{number}"} if method == "POST" else {}
            answer = requests.request(method, self.url + path, auth=self.auth, headers=headers, timeout=30, **more)
            assert answer.ok, answer.text
            found.append({name: self.counts[name] - before[name] for name in self.counts})
        return {name: min(each[name] for each in found) for name in self.counts}


@pytest.fixture
def bench(serving, monkeypatch, tmp_path):
    # On PostgreSQL what counts is how often one waits for it: see db/test_round_trips.
    file = tmp_path / "xwrap.sqlite3"
    # What goes on by itself would be counted, too.
    with serving(data=tmp_path, database_url=file, reconcile_seconds=600.0) as server:
        yield Bench(server, monkeypatch)


def test_an_order_on_paper_costs_no_more_than_it_must(bench):
    bench.of("POST", "/buy", data=ORDER)
    found = bench.of("POST", "/sell", data=ORDER)
    assert found == {"statements": 22, "ids": 1, "opened": 0}


def test_a_balance_on_paper_is_three_reads(bench):
    bench.of("POST", "/buy", data=ORDER)
    assert bench.of("GET", "/balance") == {"statements": 3, "ids": 0, "opened": 0}
