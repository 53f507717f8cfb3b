"""The calls about a whole account, all with its user name and password."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from . import _arguments as arguments
from . import _market_parsing as market_parsing
from . import _parsing as parsing
from ._connected import Connected

if TYPE_CHECKING:
    from .types import Account, AllowedAddress, Amount, AuditRow, Balance, Credential, Freeze, NewCredential, Value

__all__ = ["AccountCalls"]


class AccountCalls(Connected):
    """What an XWrap asks its server about an account."""

    def balance(self, username: str, password: str) -> list[Balance]:
        """Return the balances of all registrations of an account; a row whose exchange failed has an `error`."""
        return self._api.get("/balance", parsing.balances, arguments.basic_auth(username, password))

    def value(self, currency: str, username: str, password: str) -> Value:
        """Return what all balances of an account would bring now, in units of `currency`, without fees.

        Each asset counts what its own exchange pays for it, at a price of the last minute; where only `currency` is
        traded in it there, its amount is divided by that price, to 28 digits. What is owed counts what it costs. What
        has no price is named, never guessed; a row whose exchange failed, or could not tell all prices in time, has an
        `error` and is not counted.
        """
        query = arguments.encode({"currency": arguments.check_text(currency, "currency")})
        auth = arguments.basic_auth(username, password)
        return self._api.get(f"/value?{query}", market_parsing.value, auth)

    def account(self, username: str, password: str) -> Account:
        """Return the account that calls, and what this user name may do."""
        return self._api.get("/account", parsing.account, arguments.basic_auth(username, password))

    def change_password(self, username: str, password: str, new: str) -> None:
        """Give an account a new password, of at least 8 characters. It needs the account's own password.

        Every login with the old one fails from then on; Backends and credentials are not changed. Raises OutcomeUnknown
        when the answer was lost: `account` shows which of the two passwords is right.
        """
        auth, form = arguments.basic_auth(username, password), {"password": arguments.check_text(new, "new")}
        self._api.post("/account", form, parsing.account, auth, expected={"name": username}, method="PATCH")

    def freeze(self, username: str, password: str, cancel_orders: bool = False) -> Freeze:
        """Let neither an order nor a send of an account leave any more; reads and cancels pass. Twice is no error.

        `cancel_orders`: cancel all orders, too, at every registration. Raises OutcomeUnknown when the answer was lost:
        call it again. A credential that may trade can do this; `unfreeze` needs the account's own password.
        """
        form = {"cancel_orders": "true" if cancel_orders else "false"}
        return self._api.post("/freeze", form, parsing.freeze, arguments.basic_auth(username, password), expected={})

    def unfreeze(self, username: str, password: str) -> None:
        """Lift the freeze of an account; it needs the account's own password. Without a freeze it is no error."""
        self._api.delete("/freeze", parsing.unfrozen, arguments.basic_auth(username, password))

    def credentials(self, username: str, password: str) -> list[Credential]:
        """Return the credentials of an account that were not revoked, oldest first; never a password.

        Needs the account's own password, as the next two.
        """
        return self._api.get("/credentials/", parsing.credentials, arguments.basic_auth(username, password))

    def add_credential(
        self,
        username: str,
        password: str,
        name: str,
        scope: str,
        *,
        exchanges: Iterable[int] | None = None,
        pairs: Iterable[str] | None = None,
        per_order: Amount | None = None,
        per_day: Amount | None = None,
        currency: str | None = None,
        expires: str | None = None,
    ) -> NewCredential:
        """Make a password that may do less than the account's own; return it with its user name, as "ann/bot1".

        The password is in this record only: keep it, and do not print the record. `scope`: "read", "trade" or "send".
        `exchanges`: ids of registrations, `pairs`: like "BTC/USD"; None: all. `per_order` and `per_day` (of any 24
        hours) are limits in units of `currency`. `expires`: an ISO 8601 time with its zone. When the answer was lost
        (OutcomeUnknown), revoke the name and make it anew.
        """
        texts = {"currency": currency, "expires": expires}
        form = arguments.credential_form(name, scope, exchanges, pairs, texts, per_order=per_order, per_day=per_day)
        auth, expected = arguments.basic_auth(username, password), {"name": form["name"], "scope": scope}
        return self._api.post("/credentials/", form, parsing.new_credential, auth, expected=expected)

    def revoke_credential(self, username: str, password: str, name: str) -> Credential:
        """Revoke a credential, at once, and return it. Twice is no error. Raises NotFound."""
        name, auth = arguments.credential_name(name), arguments.basic_auth(username, password)
        return self._api.delete(
            f"/credentials/{quote(name, safe='')}", parsing.credential, auth, expected={"name": name}
        )

    def addresses(self, username: str, password: str) -> list[AllowedAddress]:
        """Return the addresses that sends of an account may go to, oldest first."""
        return self._api.get("/addresses/", parsing.allowed_addresses, arguments.basic_auth(username, password))

    def add_address(
        self,
        username: str,
        password: str,
        asset: str,
        address: str,
        *,
        network: str | None = None,
        tag: str | None = None,
        label: str = "",
        per_send: Amount | None = None,
        per_day: Amount | None = None,
    ) -> AllowedAddress:
        """Let sends of `asset` go to `address`, with this `tag` and over this `network`, from its `usable_from` on.

        `per_send`: the most that one send may be; `per_day`: the most within any 24 hours, fees not counted; both in
        units of the asset. An address that is there already stays as it is. Needs the account's own password.
        """
        form = arguments.address_form(
            asset, address, {"network": network, "tag": tag, "label": label or None}, per_send=per_send, per_day=per_day
        )
        auth, expected = arguments.basic_auth(username, password), {"asset": asset, "address": address, "tag": tag}
        return self._api.post("/addresses/", form, parsing.allowed_address, auth, expected=expected)

    def remove_address(self, username: str, password: str, id: int) -> AllowedAddress:
        """Let no send go to an address any more, at once, and return it. Twice is no error.

        Needs the account's own password. Raises NotFound.
        """
        id, auth = arguments.check_id(id), arguments.basic_auth(username, password)
        return self._api.delete(f"/addresses/{id}", parsing.allowed_address, auth, expected={"id": id})

    def audit(
        self,
        username: str,
        password: str,
        *,
        since: str | datetime | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> list[AuditRow]:
        """Return what was done with an account, newest first: who did it, when and from where.

        At most `limit` (1 to 500) rows, from the time `since` on, those with an id below `before`: pass the last id of
        a page to get the next. Needs the account's own password.
        """
        query = arguments.audit_query(since, limit, before)
        auth = arguments.basic_auth(username, password)
        return self._api.get(f"/audit?{arguments.encode(query)}", parsing.audit, auth)
