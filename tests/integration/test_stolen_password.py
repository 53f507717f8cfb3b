"""The short form of `python -m tests.stress.stolen_password`: a thief with a credential, then with the password."""

from __future__ import annotations

import signal

import pytest

pytest.importorskip("starlette", reason="the server is not installed")


def test_a_stolen_password_reads_no_key_sends_nothing_and_passes_no_limit():
    from tests.stress import stolen_password

    figures = stolen_password.run(2, 3600, stop=signal.SIGTERM)
    assert figures.good, str(figures)
