"""The adapter of Bitstamp: the verbs of `Exchange` by calls of its API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ClassVar, Literal

from ...money import plain
from ..account_history import LedgerEntry
from ..base import Field, RateLimit
from ..conditions import check_placed, ends_at_once
from ..cursors import bad_cursor, numbers_of, page_by_offset
from ..errors import Refused, Unsupported
from ..http import parsing_errors
from ..models import (
    Deposit,
    DepositAddress,
    Fill,
    Funds,
    HistoryPage,
    NewOrder,
    NewTransfer,
    NewWithdrawal,
    OrderRef,
    OrderState,
    TransferState,
    Withdrawal,
)
from ..orders import cancel_errors, check_same_order, listed_order, poll_until_final
from ..parsing import (
    address_and_tag,
    id_from_number,
    list_or_nothing,
    listed_withdrawals,
    newest_first,
    readable_rows,
    required_text,
)
from ..rules import check, network_required, no_such_asset
from .api import Value
from .ledger import entries_from_row
from .market_data import BitstampMarkets
from .parsing import (
    Currency,
    client_order_id,
    currencies_from_rows,
    currency_code,
    deposit_from_row,
    fill_from_row,
    funds_from_rows,
    market_symbol,
    money_deposits_from_row,
    new_order_call,
    open_order_from_row,
    order_from_row,
    placed_from_row,
    withdrawal_from_row,
)
from .transfers import MAIN, transfer_call

#: What a tag is called, by asset ("Crypto withdrawals").
_TAGS = {"XRP": "destination_tag", "CSPR": "transfer_id"} | dict.fromkeys(("XLM", "HBAR", "ATOM"), "memo_id")
#: The most transactions that are told at once, and that can be skipped ("User transactions").
_PAGE, _MOST_SKIPPED = 1000, 200_000
#: How old a time may be that transactions are asked for since then: a day less than the 30 that Bitstamp takes.
_RECENT = timedelta(days=29)
#: Seconds that withdrawal-requests looks back, the most that it takes.
_TIME_BACK = 50_000_000
#: How long an order that is over is known; then it is "Order not found" ("Order status").
_KEPT = timedelta(days=30)


class Bitstamp(BitstampMarkets):
    """Spot markets of Bitstamp. Market orders by cost are its "instant" orders.

    Open orders are up to 10 s old (Bitstamp caches them); `order` and `find` tell the truth of the moment, for 30 days
    after an order is over. Bitstamp takes the same client order id twice, so it protects from nothing, and it cannot
    tell what a key may do.
    """

    id: ClassVar[str] = "bitstamp"
    name: ClassVar[str] = "Bitstamp"
    description: ClassVar[str] = "Spot exchange, since 2011, in EUR, USD and GBP"
    form: ClassVar[tuple[Field, ...]] = (
        Field("apikey", "the API key"),
        Field("apisecret", "the secret that Bitstamp showed with the key", secret=True),
        Field(
            "subaccount", "the number of the sub-account that the key is of; without it the main one", required=False
        ),
    )
    #: Documentation, "Buy limit order".
    order_conditions = frozenset({"post_only", "GTC", "IOC", "FOK", "GTD"})
    #: Documentation, "Sell instant order": `amount_in_counter`.
    sells_by_cost = True
    order_lookup: ClassVar[Literal["all", "open", "none"]] = "all"
    #: Documentation, "User transactions": 14 is a transfer between main account and sub-account.
    transfer_entry = "type 14"
    #: Documentation, "Authentication": a timestamp may be 150 s off, and ours may be 150 s ahead when it is signed.
    valid_seconds = 300.0
    #: Documentation, "Request limits": 400 a second and 10,000 in ten minutes; this stays below both.
    per_address = RateLimit(385, 15)

    def funds(self) -> dict[str, Funds]:
        rows = self.api.private("account_balances")
        with parsing_errors(self.name):
            return funds_from_rows(self.name, list_or_nothing(rows))

    def check_kind(self, order: NewOrder) -> None:
        super().check_kind(order)
        if order.post_only and order.expires is not None:
            # Whether `moc_order` and `gtd_order` go together is not documented.
            raise Refused(
                f"{self.name} has post-only orders and GTD orders, and no order that is both; leave one out",
                code="unsupported",
                details={"field": "post_only"},
            )

    def place(self, order: NewOrder) -> OrderState:
        check(order, self._open_market(order.currency, order.asset, self._markets(), "markets"))
        self.check_kind(order)
        path, form = new_order_call(order)
        row = self.api.private(path, form)
        with parsing_errors(self.name, mutates=True):
            placed = placed_from_row(row, order)
        is_short = order.price is None or ends_at_once(order)
        if not is_short and not order.post_only:
            return placed
        ref = OrderRef(order.side, order.currency, order.asset, order.client_id, placed.exchange_order_id)
        # Whether a post-only order that would take is refused or canceled is not documented, so it is looked at.
        state = poll_until_final(placed, lambda: self.order(ref), seconds=4.0 if is_short else 0.0)
        # The order stands; a word for its status that is not known says no more.
        return check_placed(self.name, order, placed if state.status == "unknown" else state)

    def order(self, ref: OrderRef) -> OrderState:
        return self._read_order(ref, {"id": ref.exchange_order_id})

    def find(self, ref: OrderRef) -> OrderState | None:
        """Raises Unsupported for an order that is not there and so old that Bitstamp may have forgotten it."""
        try:
            return self._read_order(ref, {"client_order_id": ref.client_id})
        except Refused as error:
            if error.code != "order_not_found":
                raise
        since = ref.created or ref.not_before
        if since is None or datetime.now(UTC) - since > _KEPT:
            raise Unsupported(f"{self.name} may have forgotten an order of that time")
        return None

    def open_orders(self) -> list[OrderState]:
        rows = self.api.private("open_orders")
        with parsing_errors(self.name):
            return [
                listed_order(
                    self.name,
                    id_from_number(row["id"]),
                    partial(open_order_from_row, row),
                    client_id=partial(client_order_id, row),
                )
                for row in list_or_nothing(rows)
            ]

    def cancel(self, ref: OrderRef) -> None:
        id = ref.exchange_order_id
        with cancel_errors():
            row = self.api.private("cancel_order", {"id": id} if id else {"client_order_id": ref.client_id})
        with parsing_errors(self.name, mutates=True):
            if id and str(row["id"]) != id:
                raise ValueError("another order than the one asked for")

    def cancel_all(self) -> int:
        answer = self.api.private("cancel_all_orders")
        with parsing_errors(self.name, mutates=True):
            if answer["success"] is not True:
                raise ValueError("not all were canceled")
            return len(answer["canceled"])

    def fills(self, currency: str, asset: str) -> list[Fill]:
        return self._trades(currency, asset, 0)[0]

    def fills_page(self, currency: str, asset: str, cursor: str | None = None) -> HistoryPage[Fill]:
        """Return a page of user_transactions, which skips 200,000 rows at most ("User transactions", offset)."""
        if cursor is not None and numbers_of(self.name, cursor, 1)[0] > _MOST_SKIPPED:
            raise Refused(f"{self.name} tells the latest {_MOST_SKIPPED:,} transactions", code="history_unavailable")
        return page_by_offset(self.name, cursor, _PAGE, partial(self._trades, currency, asset))

    def _trades(self, currency: str, asset: str, offset: int) -> tuple[list[Fill], int]:
        """Return the trades among the user's transactions in a market, and how many transactions there were."""
        path = f"user_transactions/{market_symbol(currency, asset)}"
        rows = self.api.private(path, {"limit": _PAGE, "sort": "desc", "offset": offset or None})
        with parsing_errors(self.name):
            listed = list_or_nothing(rows)
            trades = readable_rows(self.name, listed, partial(fill_from_row, currency=currency, asset=asset))
            return [trade for trade in trades if trade is not None], len(listed)

    def ledger_page(self, since: datetime | None, cursor: str | None = None) -> HistoryPage[LedgerEntry]:
        """Return a page of user_transactions, oldest first, so that what is new moves no row.

        The cursor has the time since when rows are asked for, 0 for all, and how many to skip: Bitstamp takes times of
        the last 30 days alone ("User transactions", since_timestamp), and skips 200,000 rows at most.
        """
        if cursor is not None:
            start, offset = numbers_of(self.name, cursor, 2)
        else:
            is_recent = since is not None and datetime.now(UTC) - since < _RECENT
            # A second before: whether that of the time itself is in it is not documented.
            start, offset = int(since.timestamp()) - 1 if since is not None and is_recent else 0, 0
        if offset > _MOST_SKIPPED:
            words = f"{self.name} tells {_MOST_SKIPPED:,} transactions; ask for those since a time of the last 29 days"
            raise Refused(words, code="history_unavailable")
        form: dict[str, Value] = {
            "limit": _PAGE,
            "sort": "asc",
            "offset": offset or None,
            "since_timestamp": start or None,
        }
        rows = self.api.private("user_transactions", form)
        with parsing_errors(self.name):
            listed = list_or_nothing(rows)
            currencies = self._currencies()
            entries = [entry for row in listed for entry in entries_from_row(row, currencies)]
        wanted = [entry for entry in entries if since is None or entry.time >= since]
        return HistoryPage(wanted, f"{start}:{offset + len(listed)}" if len(listed) >= _PAGE else None)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        network = self._deposit_network(asset, network)
        row = self.api.private(f"{currency_code(asset)}_address", {"network": network})
        with parsing_errors(self.name):
            if isinstance(row, str):
                # So it was in API v1, and for some assets long after.
                row = {"address": row}
            address, written_tag = address_and_tag(required_text(row["address"]))
            names = [_TAGS.get(asset, "memo_id"), "memo_id", "destination_tag", "transfer_id"]
            tag = next((str(row[name]) for name in names if row.get(name) not in (None, "")), written_tag)
            if written_tag not in (None, tag):
                raise ValueError("two tags")
            return DepositAddress(asset=asset, address=required_text(address), tag=tag, network=network)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        asset, tag = withdrawal.asset, withdrawal.tag
        if self._currency(asset).kind == "fiat":
            raise Unsupported(f"{self.name} sends {asset} to bank accounts only")
        if tag is not None and asset not in _TAGS:
            raise Refused(f"{self.name} takes no tag for {asset}", code="invalid_request")
        network = self._withdrawal_network(asset, withdrawal.network)
        form = {
            "amount": plain(withdrawal.amount),
            "address": withdrawal.address,
            "network": network,
            **({_TAGS[asset]: tag} if tag is not None else {}),
        }
        row = self.api.private(f"{currency_code(asset)}_withdrawal", form)
        with parsing_errors(self.name, mutates=True):
            return Withdrawal(
                id=id_from_number(row["id"]),
                asset=asset,
                amount=withdrawal.amount,
                status="pending",
                address=withdrawal.address,
                tag=tag,
                network=network,
            )

    def transfer_account(self) -> str:
        """Return the number of the sub-account that the registration names, or "main". Raises Refused."""
        number = self.context.credentials.more.get("subaccount", "")
        if number and not (number.isascii() and number.isdigit()):
            words = f"the sub-account is '{number[:40]}'; {self.name} calls it by a number"
            raise Refused(words, code="invalid_request", details={"field": "subaccount"})
        return number or MAIN

    def transfer(self, transfer: NewTransfer) -> TransferState:
        """Move from a sub-account to the main account, or from that to a sub-account, with a key of the giving one.

        Documentation, "Sub account": "Transfer to main" may be called by the sub-account itself, and then has no
        number; "Transfer from main" by the main account alone.
        """
        self._currency(transfer.asset)
        path, number = transfer_call(self.name, self.transfer_account(), transfer)
        form = {"amount": plain(transfer.amount), "currency": currency_code(transfer.asset).upper()}
        row = self.api.private(path, {**form, "subAccount": number})
        with parsing_errors(self.name, mutates=True):
            if row["status"] != "ok":
                raise ValueError("not the answer to a transfer")
        return TransferState(None, "done")

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        """Return what came in. Crypto deposits have a list of their own; money stands among the user's transactions."""
        kind = None if asset is None else self._currency(asset).kind
        found = self._crypto_deposits(0)[0] if kind != "fiat" else []
        found += self._money_deposits(0)[0] if kind != "crypto" else []
        wanted = [deposit for deposit in found if asset in (None, deposit.asset)]
        return newest_first(wanted, lambda deposit: deposit.time)

    def deposits_page(self, asset: str | None = None, cursor: str | None = None) -> HistoryPage[Deposit]:
        """Return a page of the crypto deposits, and after the last one pages of money.

        The cursor says which list it is, 0 or 1, and how many rows to skip there. That of crypto deposits comes with
        withdrawals, and whether those count is not documented: so it ends with a page that has neither.
        """
        kind = None if asset is None else self._currency(asset).kind
        number, offset = (int(kind == "fiat"), 0) if cursor is None else numbers_of(self.name, cursor, 2)
        if number > 1:
            raise bad_cursor(self.name)
        found, is_last = self._money_deposits(offset) if number else self._crypto_deposits(offset)
        after_last = "1:0" if number == 0 and kind != "crypto" else None
        wanted = [deposit for deposit in found if asset in (None, deposit.asset)]
        return HistoryPage(wanted, after_last if is_last else f"{number}:{offset + _PAGE}")

    def _crypto_deposits(self, offset: int) -> tuple[list[Deposit], bool]:
        """Return the deposits in a page of crypto-transactions, and whether it is the last one: nothing is in it."""
        answer = self.api.private("crypto-transactions", {"limit": _PAGE, "offset": offset or None})
        with parsing_errors(self.name):
            lists = answer or {}
            rows = list_or_nothing(lists.get("deposits"))
            return readable_rows(self.name, rows, deposit_from_row), not any(lists.values())

    def _money_deposits(self, offset: int) -> tuple[list[Deposit], bool]:
        """Return the deposits of money in a page of the user's transactions, and whether it is the last one."""
        money = [name for name, currency in self._currencies().items() if currency.kind == "fiat"]
        form: dict[str, Value] = {"limit": _PAGE, "sort": "desc", "offset": offset or None}
        rows = self.api.private("user_transactions", form)
        with parsing_errors(self.name):
            listed = list_or_nothing(rows)
            found = readable_rows(self.name, listed, partial(money_deposits_from_row, money=money))
            return [deposit for deposits in found for deposit in deposits], len(listed) < _PAGE

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows = self.api.private("withdrawal-requests", {"timedelta": _TIME_BACK})
        with parsing_errors(self.name):
            found = listed_withdrawals(self.name, rows, withdrawal_from_row, asset)
        return [withdrawal for withdrawal in found if asset is None or withdrawal.asset in (asset, "")]

    def _currencies(self) -> Mapping[str, Currency]:
        return self._cached(
            "currencies", partial(self.api.public, "currencies"), partial(currencies_from_rows, self.name)
        )

    def _currency(self, asset: str) -> Currency:
        """Return what is listed of it. Raises Refused for what is not listed: its name would become part of a path."""
        try:
            return self._currencies()[asset]
        except KeyError:
            raise no_such_asset(self.name, asset) from None

    def _deposit_network(self, asset: str, network: str | None) -> str | None:
        """Return the network of a deposit: `network`, or the only one that takes them now; None where none is listed.

        Bitstamp hands out addresses of networks that take no deposits now; they are refused here.
        """
        networks = self._currency(asset).deposit
        if networks is None:
            return network
        open_ones = [name for name, is_open in networks.items() if is_open]
        if not open_ones or not networks.get(network or open_ones[0], True):
            where = f" by {network}" if network and open_ones else ""
            words = f"{self.name} takes no deposits of {asset}{where} now"
            self.context.cache.invalidate("currencies")
            raise Refused(words, code="exchange_unavailable", retryable=True)
        return network or _only(open_ones, asset)

    def _withdrawal_network(self, asset: str, network: str | None) -> str | None:
        """Return the network of a withdrawal: `network`, or the only one that takes them now; None where none does."""
        networks = self._currency(asset).withdrawal or {}
        open_ones = [name for name, is_open in networks.items() if is_open]
        return network or (_only(open_ones, asset) if open_ones else None)

    def _read_order(self, ref: OrderRef, form: Mapping[str, str | None]) -> OrderState:
        """Return the state of the order that `form` names; it must be the one of `ref`."""
        row = self.api.private("order_status", form)
        with parsing_errors(self.name):
            state = order_from_row(row, ref)
            check_same_order(state, ref)
            return state


def _only(networks: Sequence[str], asset: str) -> str:
    """Return the only one of `networks`. Raises Refused `network_required` when there are several."""
    if len(networks) > 1:
        raise network_required(asset, networks)
    return networks[0]
