"""The calls of the client by name, and which request on the wire is which of them."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import NamedTuple

from .exchanges.messages import Request

__all__ = ["CALLS", "EXCHANGE_CALLS", "KEYED_CALLS", "calls_of", "check_name"]


class _Form(NamedTuple):
    """What the requests of a call look like; `query`: a parameter that they have, "!" before it: that they have not."""

    method: str
    path: str
    query: str = ""

    def fits(self, request: Request) -> bool:
        if self.method != request.method or not re.fullmatch(f"{self.path}/?", request.path):
            return False
        return not self.query or (self.query.lstrip("!") in request.args) != self.query.startswith("!")


_ONE = r"/exchanges/\d+"
_ANY = rf"({_ONE})?"
_READS = (
    "get_address deposit_address deposits funds fills markets ticker candles trades fees ledger permissions".split()
)

#: The requests of each call, by its name in the client.
CALLS: dict[str, tuple[_Form, ...]] = {
    **{name: (_Form("POST", f"{_ONE}/{name}"),) for name in ("buy", "sell", "send_to_address", "transfer")},
    **dict.fromkeys(("place_many", "buy_many", "sell_many"), (_Form("POST", f"{_ONE}/orders"),)),
    "amend": (_Form("POST", rf"{_ONE}/orders/\d+"),),
    "cancel": (_Form("DELETE", rf"{_ONE}/orders/\d+"),),
    "cancel_all": (_Form("DELETE", f"{_ONE}/orders"),),
    "deadman": (_Form("PUT", f"{_ANY}/deadman"),),
    "order": (_Form("GET", rf"{_ONE}/orders/\d+"), _Form("GET", f"{_ONE}/orders", "key")),
    **dict.fromkeys(("orders", "all_orders", "iter_orders"), (_Form("GET", f"{_ONE}/orders", "status"),)),
    "follow": (_Form("GET", f"{_ONE}/orders", "after"),),
    "withdrawal": (_Form("GET", f"{_ONE}/withdrawals", "key"),),
    **dict.fromkeys(
        ("withdrawals", "all_withdrawals", "iter_withdrawals"), (_Form("GET", f"{_ONE}/withdrawals", "!key"),)
    ),
    **dict.fromkeys(("all_deposits", "iter_deposits"), (_Form("GET", f"{_ONE}/deposits"),)),
    **dict.fromkeys(("all_fills", "iter_fills"), (_Form("GET", f"{_ONE}/fills"),)),
    **{name: (_Form("GET", f"{_ONE}/{name}"),) for name in _READS},
    "exchange_rate": (_Form("GET", f"{_ONE}/exchange_rate", "!after"),),
    "follow_rate": (_Form("GET", f"{_ONE}/exchange_rate", "after"),),
    "balance": (_Form("GET", f"{_ANY}/balance"),),
    "order_book": (_Form("GET", f"{_ANY}/order_book"),),
    **dict.fromkeys(("rename", "enable", "disable", "replace_key"), (_Form("PATCH", _ONE),)),
    "delete": (_Form("DELETE", _ONE),),
    "backend": (_Form("GET", _ONE),),
    "list_backends": (_Form("GET", "/exchanges"),),
    "create_backend": (_Form("POST", "/exchanges"),),
    "list_exchanges": (_Form("GET", "/list_exchanges"),),
    "exchange_rates": (_Form("GET", "/exchange_rates", "!after"),),
    "follow_rates": (_Form("GET", "/exchange_rates", "after"),),
    "best": (_Form("GET", "/best"),),
    "value": (_Form("GET", "/value"),),
    "account": (_Form("GET", "/account"),),
    "change_password": (_Form("PATCH", "/account"),),
    "audit": (_Form("GET", "/audit"),),
    "addresses": (_Form("GET", "/addresses"),),
    "add_address": (_Form("POST", "/addresses"),),
    "remove_address": (_Form("DELETE", r"/addresses/\d+"),),
    "credentials": (_Form("GET", "/credentials"),),
    "add_credential": (_Form("POST", "/credentials"),),
    "revoke_credential": (_Form("DELETE", "/credentials/[^/]+"),),
    "freeze": (_Form("POST", "/freeze"),),
    "unfreeze": (_Form("DELETE", "/freeze"),),
}
#: Those with an idempotency key in their head, whose outcome the client looks up when the answer is lost.
KEYED_CALLS = ("buy", "sell", "send_to_address", "transfer", "amend")
#: Those that the paper exchange itself can fail at.
EXCHANGE_CALLS = (
    *("buy", "sell", "send_to_address", "transfer", "cancel", "cancel_all"),
    *("balance", "funds", "exchange_rate"),
)


def calls_of(request: Request) -> set[str]:
    """Return the names of the calls that make such a request: several where they are the same on the wire."""
    return {name for name, forms in CALLS.items() if any(form.fits(request) for form in forms)}


def check_name(name: str, known: tuple[str, ...], what: str) -> str:
    """Return a name that is known. Raises ValueError with the nearest one for any other."""
    if name in known:
        return name
    near = get_close_matches(name, known, 1)
    raise ValueError(f"'{name}' is no {what}; " + (f"did you mean '{near[0]}'?" if near else f"use {', '.join(known)}"))
