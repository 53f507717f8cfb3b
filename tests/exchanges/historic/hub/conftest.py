"""What the hub's tests share: the API and the adapter, each with the keys that the local hub knows."""

from __future__ import annotations

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.historic.hub import Hub, HubAPI


@pytest.fixture
def hub_api(venue, transport):
    """A function that makes the API in front of the local hub."""

    def make(**settings):
        defaults = {"account": "acct-1", "transport": transport}
        keys = {"password": venue.secret} if venue.authentication == 1 else {"token": venue.key, "key": venue.secret}
        return HubAPI(venue.url, **{**defaults, **keys, **settings})

    return make


@pytest.fixture
def hub(venue, transport):
    """A function that makes the adapter with the credentials of the hub's authentication type."""

    def make(transport=transport, more=None, **credentials):
        keys = {"username": "acct-1", "apikey": venue.key, "apisecret": venue.secret, **credentials}
        if venue.authentication == 1:
            keys["apikey"] = ""
        settings = {"authentication": str(venue.authentication), **(more or {})}
        return Hub(ExchangeContext(transport, Credentials(**keys, more=settings), registration=1, url=venue.url))

    return make
