"""The journal is lost, and no key executes again: the short form of `python -m tests.stress.loss`."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")


@pytest.mark.parametrize("way", ["the log damaged", "the file removed while serving"])
def test_after_a_loss_every_key_is_answered_with_the_order_that_it_executed(way):
    from tests.stress import loss

    figures = loss.run(way, 4)
    assert figures.good, str(figures)
