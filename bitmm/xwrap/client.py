"""The API: an XWrap is a server that holds exchange keys, a Backend is one exchange registration on it.

    >>> xwrap = XWrap()  # the server at XWRAP_URL, or at http://localhost:8000
    >>> backend = xwrap.list_backends("ann", "her password", "paper")[0]
    >>> backend.balance()
    {'USD': Decimal('200000'), 'BTC': Decimal('1')}
    >>> order = backend.buy("USD", "BTC", "0.1", price="20000", key="the-first-one")
    >>> order["status"], order["filled"]
    ('open', Decimal('0'))
    >>> backend.cancel(order["id"])["status"]
    'canceled'
    >>> backend.wait(order, timeout=60) == backend.order(key="the-first-one")
    True
    >>> xwrap.close()

Amounts are Decimal, int or decimal text on the way in and Decimal on the way out, with exactly the digits that came.
Every failure is an APIError (see `errors`). Any call may raise InvalidRequest, AuthenticationError, PermissionDenied,
NotFound (no such registration), RateLimited and Unavailable; what else it may raise stands at the method.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from . import _arguments as arguments
from . import _market_parsing as market_parsing
from . import _parsing as parsing
from ._account import AccountCalls
from ._api import ServerAPI
from ._batches import BatchCalls
from ._history import HistoryCalls
from ._markets import MarketCalls
from ._rates import RateCalls
from ._records import types
from ._trading import TradingCalls
from .errors import (
    APIError,
    AuthenticationError,
    InsufficientFunds,
    InvalidRequest,
    NotFinal,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from .transport import Session

if TYPE_CHECKING:
    from .types import (
        Account,
        AllowedAddress,
        Amount,
        AuditRow,
        BackendValue,
        Balance,
        CanceledOrders,
        Candle,
        Credential,
        DeadMansSwitch,
        Deposit,
        DepositAddress,
        EntryKind,
        Exchange,
        ExchangeRate,
        Fees,
        Fill,
        FormField,
        Freeze,
        Funds,
        LedgerEntry,
        Level,
        Market,
        NewCredential,
        Offer,
        Order,
        OrderBook,
        OrderStatus,
        OrderType,
        Rate,
        Refusal,
        Side,
        Ticker,
        TimeInForce,
        Trade,
        Value,
        Withdrawal,
        WithdrawalStatus,
    )

__all__ = [
    "APIError",
    "Account",
    "AllowedAddress",
    "Amount",
    "AuditRow",
    "AuthenticationError",
    "Backend",
    "BackendValue",
    "Balance",
    "CanceledOrders",
    "Candle",
    "Credential",
    "DeadMansSwitch",
    "Deposit",
    "DepositAddress",
    "EntryKind",
    "Exchange",
    "ExchangeRate",
    "Fees",
    "Fill",
    "FormField",
    "Freeze",
    "Funds",
    "InsufficientFunds",
    "InvalidRequest",
    "LedgerEntry",
    "Level",
    "Market",
    "NewCredential",
    "NotFinal",
    "NotFound",
    "Offer",
    "Order",
    "OrderBook",
    "OrderStatus",
    "OrderType",
    "OutcomeUnknown",
    "PermissionDenied",
    "Rate",
    "RateLimited",
    "Refusal",
    "Side",
    "Ticker",
    "TimeInForce",
    "Trade",
    "Unavailable",
    "Value",
    "Withdrawal",
    "WithdrawalStatus",
    "XWrap",
]


class XWrap(AccountCalls, RateCalls):
    """A server that speaks to exchanges for its accounts.

    `baseurl`: XWRAP_URL from the environment when not given, else http://localhost:8000; plain http to another machine
    is refused without `insecure` or XWRAP_INSECURE=1. `timeout`: seconds for a whole call, repeats included. `session`:
    a requests.Session whose proxies, certificates and adapters are to be used. An XWrap and the Backends it hands out
    share their connections; they may be used from many threads and after a fork. A copy or a pickle makes its own.
    """

    def __init__(
        self, baseurl: str | None = None, *, timeout: float = 30, session: Session | None = None, insecure: bool = False
    ) -> None:
        self._api = ServerAPI(baseurl, timeout=timeout, session=session, insecure=insecure)

    def __repr__(self) -> str:
        return f"XWrap({self._api.url!r})"

    def list_exchanges(self) -> list[Exchange]:
        """Return the exchanges that the server offers."""
        return self._api.get("/list_exchanges/", parsing.exchanges)

    def best(
        self,
        currency: str,
        asset: str,
        username: str,
        password: str,
        *,
        side: Side,
        amount: Amount | None = None,
        cost: Amount | None = None,
        split: bool = False,
    ) -> list[Offer]:
        """Return what a market order would cost or bring at each active registration, the best first; order nothing.

        What is offered, the fees, the market's rules and the funds count. `amount`: units of `asset`; `cost`, for buys:
        units of `currency`. A registration that could not execute the order has a `reason` and comes last. `split`: the
        parts in which `amount` is executed best, never worse than at the best single registration; those without a
        `reason` add up to it, and there are none where all together cannot execute it.
        """
        query = arguments.market_query(currency, asset) | arguments.size_query(side, amount=amount, cost=cost)
        query |= {"split": "true"} if split else {}
        auth = arguments.basic_auth(username, password)
        return self._api.get(f"/best?{arguments.encode(query)}", market_parsing.offers, auth)

    def order_book(self, exchange: str, currency: str, asset: str, *, depth: int | None = None) -> OrderBook:
        """Return the offers of others at an exchange (its id), as `Backend.order_book` does; it needs no account."""
        query = {"exchange": arguments.check_text(exchange, "exchange")}
        query |= arguments.market_query(currency, asset, depth=depth)
        return self._api.get(f"/order_book/?{arguments.encode(query)}", market_parsing.order_book)

    def list_backends(
        self, username: str, password: str, exchange: str | None = None, active_only: bool = True
    ) -> list[Backend]:
        """Return the registrations of an account at one exchange (its id) or at all, disabled ones only on demand."""
        path = "/exchanges/?" + arguments.encode(arguments.registrations_query(exchange, active_only=active_only))
        rows = self._api.get(path, parsing.registrations, arguments.basic_auth(username, password))
        return [_backend(row, username, password, self) for row in parsing.those_asked_for(rows, exchange, active_only)]

    def create_backend(
        self,
        username: str,
        password: str,
        exchange: str,
        uname: str,
        key: str,
        secret: str,
        *,
        label: str = "",
        allow_send: bool = False,
        **fields: str,
    ) -> Backend:
        """Register the exchange keys `key` and `secret`, and `uname`, the user name at exchanges that want one.

        `label`: your name for it. `allow_send`: sends may leave; without, a key that may withdraw is refused. `fields`:
        what else its `form` in `list_exchanges` names, as `passphrase="..."`. Raises InvalidRequest, with the form,
        when one is missing or unknown, and OutcomeUnknown when the answer was lost: look at `list_backends` then.
        """
        form = arguments.registration_form(exchange, uname, key, secret, label, fields, allow_send=allow_send)
        auth, expected = arguments.basic_auth(username, password), {"exchange": exchange}
        row = self._api.post("/exchanges/", form, parsing.registration, auth, expected=expected)
        return _backend(row, username, password, self)

    def backend(self, id: int, username: str, password: str) -> Backend:
        """Return the registration with this id. Raises NotFound."""
        id, auth = arguments.check_id(id), arguments.basic_auth(username, password)
        row = self._api.get(f"/exchanges/{id}", parsing.registration, auth, expected={"id": id})
        return _backend(row, username, password, self)


class Backend(TradingCalls, BatchCalls, MarketCalls, HistoryCalls):
    """One exchange registration of one account.

    `baseurl`: the address of the server as for an XWrap, or an XWrap, whose connections are then shared. `exchange`,
    `enabled`, `available`, `label` and `info` (the whole registration) are what the server answered; a Backend that was
    made by hand knows its id only. It can be pickled, for a process of one's own: the pickle holds the password.
    """

    def __init__(
        self,
        id: int,
        username: str,
        password: str,
        baseurl: str | XWrap | None = None,
        *,
        timeout: float = 30,
        session: Session | None = None,
        insecure: bool = False,
    ) -> None:
        if isinstance(baseurl, XWrap):
            api = baseurl._api  # noqa: SLF001 - the two halves of one API
        else:
            api = ServerAPI(baseurl, timeout=timeout, session=session, insecure=insecure)
        super().__init__(id, username, password, api)

    def __repr__(self) -> str:
        return f"<Backend {self.id} ({self.exchange or 'not asked'}) at {self._api.url}>"

    def balance(self) -> dict[str, Decimal]:
        """Return what the account owns at the exchange, in units by currency or asset, open orders included."""
        return self._get("balance", parsing.amounts)

    def exchange_rate(self, currency: str, asset: str) -> Rate:
        """Return what one unit of `asset` costs you (`buy`) and brings you (`sell`) now, in units of `currency`."""
        return self._get("exchange_rate", parsing.rate, arguments.pair_query(currency, asset))

    def funds(self) -> dict[str, Funds]:
        """Return what the account owns at the exchange by currency or asset, and how much of it is free."""
        return self._get("funds", parsing.funds)

    def orders(self, status: str = "all", *, limit: int = 50, before: int | None = None) -> list[Order]:
        """Return orders, newest first: "open" ones as the exchange reports them now, "closed" ones, or "all".

        At most `limit` (1 to 500) of them, those with an id below `before`: pass the last id of a page to get the next.
        Among the open ones are also those that were placed elsewhere with the same exchange key; their `id` is None.
        """
        return self._get("orders/", parsing.orders, {"status": status, **arguments.page_query(limit, before)})

    def order(self, id: int | None = None, *, key: str | None = None) -> Order:
        """Return the order with this id, or of this idempotency key, as it is now, also a refused one ("rejected").

        Raises NotFound, whose code `no_such_key` means that nothing was executed with this key; OutcomeUnknown while
        the call with this key still runs, and where the server cannot say.
        """
        if key is not None:
            return self._api.look_up(f"{self._path}/orders/", arguments.only_key(key, id), parsing.order, self._auth)
        id = arguments.check_id(id)
        return self._api.get(f"{self._path}/orders/{id}", parsing.order, self._auth, expected={"id": id})

    def cancel(self, id: int) -> Order:
        """Cancel an order and return what it is then: canceled, or filled before that. Canceling twice is no error.

        Raises NotFound, and OutcomeUnknown when the answer was lost: ask for the order, or cancel it again.
        """
        id = arguments.check_id(id)
        return self._api.delete(f"{self._path}/orders/{id}", parsing.order, self._auth, expected={"id": id})

    def withdrawals(self, *, limit: int = 50, before: int | None = None) -> list[Withdrawal]:
        """Return what was sent through this registration, newest first; `limit` and `before` as for `orders`."""
        return self._get("withdrawals/", parsing.withdrawals, arguments.page_query(limit, before))

    def withdrawal(self, *, key: str) -> Withdrawal:
        """Return the send of this idempotency key, also a refused one; raises as `order` does."""
        return self._api.look_up(f"{self._path}/withdrawals/", key, parsing.withdrawal, self._auth)

    def deposit_address(self, asset: str = "BTC", network: str | None = None) -> DepositAddress:
        """Return an address at the exchange to send `asset` to; with a `tag`, both are needed or the money is lost."""
        query = {"asset": asset, **arguments.without_none(network=network)}
        return self._get("deposit_address", parsing.deposit_address, query)

    def send_to_address(
        self,
        asset: str,
        amount: Amount,
        address: str,
        *,
        tag: str | None = None,
        network: str | None = None,
        key: str | None = None,
    ) -> bool:
        """Send `amount` units of `asset` to `address`; return True when the exchange accepted it.

        `tag`: the memo or destination tag that belongs to the address. `network`: where the asset has several. `key`
        and the errors as for `buy`.
        """
        form = arguments.withdrawal_form(asset, amount, address, tag=tag, network=network)
        return self._api.submit(self._path, "send_to_address", form, parsing.accepted, self._auth, key=key)

    def transfer(self, to: Backend | int, amount: Amount, asset: str = "BTC", *, key: str | None = None) -> Withdrawal:
        """Move `amount` units of `asset` to another registration of this account at the same exchange; return the
        record of it, which stands among the `withdrawals`.

        It goes between a main account and its sub-accounts, and needs no address. `to`: the registration, or its id.
        `key` and the errors as for `buy`.
        """
        if isinstance(to, Backend):
            to = self._id_beside(to)
        form = arguments.transfer_form(to, amount, asset)
        return self._api.submit(self._path, "transfer", form, parsing.withdrawal, self._auth, key=key)

    def _id_beside(self, other: Backend) -> int:
        """Return the id of another registration of this account; elsewhere another one would have the same id."""
        # "ann/bot1" is a credential of the account "ann".
        names, others = ({name, name.rpartition("/")[0]} - {""} for name in (self.username, other.username))
        if other._api.url != self._api.url or names.isdisjoint(others):
            words = f"{other!r} of {other.username} is not of the account of {self.username} at {self._api.url}"
            raise InvalidRequest(words, code="invalid_argument")
        return other.id

    def get_address(self, asset: str = "BTC") -> str:
        """Return an address at the exchange to send `asset` to; where a tag is needed see `deposit_address`."""
        return self._get("get_address", parsing.address, {"asset": asset})


def __getattr__(name: str) -> Any:
    # The types, of which a program without annotations needs none.
    if name in __all__:
        return getattr(types(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # What completes `client.` at a prompt.
    return __all__


def _backend(info: dict[str, Any], username: str, password: str, xwrap: XWrap) -> Backend:
    backend = Backend(info["id"], username, password, xwrap)
    backend._take_over(info)  # noqa: SLF001 - the two halves of one API
    return backend
