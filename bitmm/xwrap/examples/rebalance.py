"""A bot that keeps half of its money in BTC; it may be killed at any moment, and no order is placed twice.

    XWRAP_USER=ann XWRAP_PASSWORD=... python rebalance.py [SECONDS between two looks]

The order that is due is written into a file with its key, and only then sent. After a kill the same order is sent with
the same key: the server places it if it never saw the key, and else answers what became of it.
"""

import json
import os
import sys
import time
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from uuid import uuid4

from bitmm.xwrap.client import Backend, InvalidRequest, Order, OutcomeUnknown, RateLimited, Unavailable, XWrap

SHARE, TOLERANCE = Decimal("0.5"), Decimal("0.02")  # parts of all the money: in BTC, and how far that may be off
STEP = Decimal("0.0001")  # of amounts, in BTC
DUE = Path("rebalance.json")


def order_due(backend: Backend) -> dict[str, str] | None:
    """Return the order that is due by the balance and the price now, with a key of its own; None when there is none."""
    balance, rate = backend.balance(), backend.exchange_rate("USD", "BTC")
    price = (rate["buy"] + rate["sell"]) / 2
    in_btc = balance.get("BTC", Decimal(0)) * price
    total = in_btc + balance.get("USD", Decimal(0))
    missing = total * SHARE - in_btc
    amount = (abs(missing) / price).quantize(STEP, ROUND_DOWN)
    if abs(missing) <= total * TOLERANCE or not amount:
        return None
    return {"side": "buy" if missing > 0 else "sell", "amount": str(amount), "key": uuid4().hex}


def rebalance(backend: Backend, due: Path = DUE) -> Order | None:
    """Place the order that is due, or that was before a kill; return it when it is final, None when none is due."""
    if due.exists():
        order = json.loads(due.read_text())
    else:
        order = order_due(backend)
        if order is None:
            return None
        new = due.with_suffix(".new")
        new.write_text(json.dumps(order))
        new.replace(due)  # at once: a kill leaves no half of a file
    place = backend.buy if order["side"] == "buy" else backend.sell
    try:
        placed = backend.wait(place("USD", "BTC", order["amount"], key=order["key"]))
    except InvalidRequest:
        due.unlink()  # it was refused, so that it never will be executed
        raise
    due.unlink()
    return placed


def main() -> None:
    pause = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with XWrap() as xw:
        (backend,) = xw.list_backends(os.environ["XWRAP_USER"], os.environ["XWRAP_PASSWORD"], "paper")
        while True:
            try:
                if order := rebalance(backend):
                    print(order["side"], order["filled"], "BTC for", order["spent"], "USD", flush=True)
            except (InvalidRequest, OutcomeUnknown, RateLimited, Unavailable) as error:
                print("later:", error, flush=True)  # the file says which order it was, if it may have been executed
            time.sleep(pause)


if __name__ == "__main__":
    main()
