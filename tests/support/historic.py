"""What the tests of Mt.Gox and of the hub share."""

from __future__ import annotations

import time
import uuid
from decimal import Decimal

from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.exchanges.historic.hub import Overview
from bitmm.xwrap.exchanges.models import NewOrder, NewWithdrawal, OrderRef, OrderState
from bitmm.xwrap.testing.exchanges.hub import FORM, RIGHTS

ADDRESS = "1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L"

#: Fault of a local exchange -> what is raised, its code (of the refusal inside, where there is one), and how often it
#: was executed.
OUTCOMES = {
    "executed_but_timeout": (Unknown, "outcome_unknown", 1),
    "refused": (Refused, "exchange_unavailable", 0),
    "reset_before": (Unknown, "outcome_unknown", 0),
    "reset_after": (Unknown, "outcome_unknown", 1),
    "drip": (Unknown, "outcome_unknown", 1),
    "cut": (Unknown, "outcome_unknown", 1),
    "html": (Unknown, "outcome_unknown", 0),
    "html_after": (Unknown, "outcome_unknown", 1),
    "rate_limit": (Busy, "rate_limited", 0),
    "nonce": (Unknown, "invalid_nonce", 0),
    # Mt.Gox: "MySQL error, please retry later" with status 200 does not say what was done before.
    "maintenance": (Unknown, "outcome_unknown", 0),
}
#: These end only by our own deadline, and the local exchange may be behind on a busy machine.
ENDLESS = {"executed_but_timeout", "drip"}


def mtgox_order(side="buy", amount="0.05", price=None, currency="USD", **more):
    """Return an order of Mt.Gox: a market order, unless it has a price."""
    price = None if price is None else Decimal(price)
    return NewOrder(side, currency, "BTC", uuid.uuid4().hex, amount=Decimal(amount), price=price, **more)


def hub_order(side="buy", amount="0.5", price="300", **more):
    """Return an order of a hub, which has limit orders alone."""
    return mtgox_order(side, amount, price, **more)


def ref_of(placed: OrderState) -> OrderRef:
    """Return what the server knows of an order that was placed."""
    return OrderRef(
        placed.side,
        placed.currency,
        placed.asset,
        placed.client_id,
        placed.exchange_order_id,
        amount=placed.amount,
        price=placed.price,
    )


def send(amount="0.5", address=ADDRESS, **more):
    """Return a send of bitcoins."""
    return NewWithdrawal("BTC", Decimal(amount), address, uuid.uuid4().hex, **more)


def overview(encoding=FORM, authentication=2, method="POST", url="https://hub.example/code/(function_name).php"):
    """Return the overview document of a hub that supports everything."""
    return Overview(url, method, encoding, authentication, frozenset(RIGHTS))


def wait_until(condition):
    """Wait until `condition()` is true, or for 10 seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
