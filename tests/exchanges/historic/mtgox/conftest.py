"""What Mt.Gox's tests share: the adapter in front of the local Mt.Gox, or of recorded answers."""

from __future__ import annotations

from typing import Any

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.historic.mtgox import MtGox
from bitmm.xwrap.testing.exchanges.mtgox import MtGoxVenue
from bitmm.xwrap.testing.exchanges.venue import dumps
from tests.support.mtgox_recordings import Player


@pytest.fixture
def mtgox(venue, transport):
    """A function that makes the adapter of one version."""

    cache = TTLCache()

    def make(version="2", transport=transport, **credentials):
        keys = {"apikey": venue.key, "apisecret": venue.secret, "more": {"version": version}, **credentials}
        return MtGox(ExchangeContext(transport, Credentials(**keys), registration=1, url=venue.url, cache=cache))

    return make


@pytest.fixture
def player():
    with Player() as player:
        yield player


@pytest.fixture
def play(player, transport):
    """A function: the adapter of a version, in front of the recorded `body` at `path`."""

    def start(version: int, path: str, body: Any, *, whole: bool = False) -> MtGox:
        word = "data" if version == 2 else "return"
        document = body if whole or version == 0 else {"result": "success", word: body}
        player.texts[path] = document if isinstance(document, str) else dumps(document)
        keys = Credentials(apikey="key", apisecret=MtGoxVenue.default_secret, more={"version": str(version)})
        return MtGox(ExchangeContext(transport, keys, registration=1, url=player.url))

    return start
