"""`xwrap demo`: a server, an account, paper money, and the README's example through the real client over real HTTP.

Every line that is shown is the line that is run, and the balances must add up to the last digit.
"""

from __future__ import annotations

import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from pprint import pformat
from typing import Any

from rich.console import Console
from rich.text import Text

from .client import XWrap
from .money import EXACT
from .server.db.store import Store
from .server.passwords import hash_password
from .server.runner import run_in_background
from .server.settings import Settings

_USER = "demo"
#: An address of another wallet, on the test network.
_OTHER_WALLET = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"


def run(*, stay: bool) -> None:
    """Run the demo; with `stay`, leave the server running afterwards until Ctrl-C. Exits 1 when a step went wrong."""
    with tempfile.TemporaryDirectory(prefix="xwrap-demo-") as folder:
        settings = Settings.read({}, data=Path(folder), port=0, exchanges=("paper",))
        password = secrets.token_urlsafe(18)
        store = Store(settings.database)
        store.prepare()
        store.accounts.add(_USER, hash_password(password))
        store.close()
        with run_in_background(settings) as url:
            show = _Show()
            _show_trading(show, url, password)
            if show.failures:
                sys.exit(1)
            if stay:
                show.say(f"The server stays at {url}; user: {_USER}  password: {password}")
                show.say("In a Python beside it (Ctrl-C here stops it):")
                show.say(
                    f'from bitmm.xwrap.client import XWrap; xw = XWrap("{url}"); '
                    f'backend = xw.backend(1, "{_USER}", "{password}")'
                )
                _wait_for_a_signal()


def _show_trading(show: _Show, url: str, password: str) -> None:
    show.say(f"A server of your own runs at {url}, with an account '{_USER}' and fresh data.")
    show.names.update(XWrap=XWrap, Decimal=Decimal, user=_USER, password=password, other_wallet=_OTHER_WALLET)
    show.run(f'xw = XWrap("{url}")')
    show.run("xw.list_exchanges()")
    show.run('xw.exchange_rates("USD", "BTC")')
    show.run('xw.create_backend(user, password, "paper", "", "", "")')
    show.run("xw.list_backends(user, password)")
    show.run("backend = xw.list_backends(user, password)[0]")
    before = show.run("backend.balance()")
    bought = show.run('backend.buy("USD", "BTC", Decimal("0.1"))')
    after_buy = show.run("backend.balance()")
    sold = show.run('backend.sell("USD", "BTC", Decimal("0.05"))')
    after_sell = show.run("backend.balance()")
    sent = show.run('backend.send_to_address("BTC", Decimal("0.01"), other_wallet)')
    address = show.run("backend.get_address()")
    after_send = show.run("backend.balance()")
    everything = show.run("xw.balance(user, password)")

    show.say("Does it add up, to the last digit?")
    show.check("bought 0.1 BTC", bought["filled"], Decimal("0.1"))
    show.check("BTC after buying", after_buy["BTC"], _sum(before["BTC"], "0.1"))
    show.check("USD after buying", after_buy["USD"], _sum(before["USD"], -bought["spent"], -bought["fee"]))
    show.check("BTC after selling half", after_sell["BTC"], _sum(after_buy["BTC"], "-0.05"))
    show.check("USD after selling half", after_sell["USD"], _sum(after_buy["USD"], sold["spent"], -sold["fee"]))
    show.check("the send is done", sent, True)
    show.check("BTC after the send", after_send["BTC"], _sum(after_sell["BTC"], "-0.01"))
    show.check("USD after the send", after_send["USD"], after_sell["USD"])
    show.check("an address of our own", address.startswith("tb1q") and address != _OTHER_WALLET, True)
    show.check("all balances in one call", everything[0]["balance"], after_send)


def _sum(*amounts: Decimal | str) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, Decimal(amount))
    return total


class _Show:
    """Runs lines of Python and shows them with their results: in colour on a terminal, plain in a pipe."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.failures = 0
        self._console = Console(highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """Show a sentence."""
        self._console.print(Text(line, style="bold"))

    def run(self, line: str) -> Any:
        """Show `line`, run it, show its result."""
        self._console.print(Text(">>> ", style="dim") + Text(line, style="cyan"))
        target, assigned, expression = line.partition(" = ")
        value = eval(expression if assigned else line, self.names)  # noqa: S307 - the demo's own lines, shown as run
        if assigned:
            self.names[target] = value
        else:
            shown = dict(value) if isinstance(value, Mapping) else value
            self._console.print(Text(pformat(shown, width=110, sort_dicts=False), style="green"))
        return value

    def check(self, what: str, is_: object, should_be: object) -> None:
        """Show whether a value is as it should be, and count it when it is not."""
        right = is_ == should_be
        self.failures += not right
        line = f"  {what}: {is_}" + ("" if right else f", but it should be {should_be}")
        self._console.print(Text("  yes" if right else "  NO ", style="green" if right else "bold red") + Text(line))


def _wait_for_a_signal() -> None:
    stopped = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: stopped.set())
    stopped.wait()
