"""The adapter of Kraken: the verbs of `Exchange` by calls of its API."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from ...money import parse_decimal
from ..base import Field, RateLimit
from ..batches import Outcome, place_each, place_in_batches, poll_outcomes, read_outcomes
from ..conditions import check_placed, is_short
from ..errors import Busy, ExchangeError, Refused, Unsupported
from ..http import parsing_errors
from ..models import (
    DepositAddress,
    Funds,
    NewOrder,
    NewTransfer,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Status,
    TransferState,
    Withdrawal,
)
from ..orders import accepted_order, cancel_errors, listed_order, poll_until_final
from ..parsing import list_or_nothing, listed_withdrawals, newest_first, required_text, time_from_seconds
from ..rules import check
from ..transfers import check_other_account
from .amendments import KrakenAmendments
from .api import failure
from .batches import read_in_batches
from .executions import with_amount
from .funding import check_takes_deposits, choose_address, choose_method, usable_addresses
from .pages import read_pages
from .parsing import (
    TRANSFER_STATUSES,
    check_timer,
    client_id_from_row,
    count_of,
    funds_from_rows,
    has_no_nonce_window,
    new_order_form,
    new_orders_form,
    only_entry,
    order_from_row,
    shown_rows,
    withdrawal_from_row,
)

#: The most orders in one QueryOrders.
_QUERY = 50
#: And in one AddOrderBatch.
_BATCH = 15
#: And on a page of "Get Closed Orders".
_CLOSED = 50
#: The calls of `Kraken.find`.
_FIND_CALLS = 2
#: Seconds for which a part of a list of closed orders is kept; a full counter of a Starter key is empty in 45.
_KEPT_SECONDS = 600.0
#: How far Kraken's clock may be from ours.
_CLOCK_SKEW = timedelta(seconds=60)


class Kraken(KrakenAmendments):
    """Spot markets of Kraken. Fees are always taken in the pair's currency (`oflags=fciq`)."""

    id = "kraken"
    name = "Kraken"
    description = "Kraken, spot markets"
    form: ClassVar[tuple[Field, ...]] = (
        Field("apikey", "the API key"),
        Field("apisecret", "the private key that Kraken showed with the API key", secret=True),
    )
    order_lookup = "all"
    #: "Add Order": `timeinforce`, `oflags` and the types of `ordertype`; there is no fill-or-kill.
    order_conditions = frozenset({"post_only", "GTC", "IOC", "GTD", "stop"})
    ordered = True
    #: "Spot REST Rate Limits", a Starter key: 15, falling by 0.33 a second; histories count 2, orders and cancels none.
    #: It is one less here because Kraken counts a call when it arrives, later than we do.
    per_key = RateLimit(
        14,
        0.33,
        {
            **dict.fromkeys(("AddOrder", "AmendOrder", "CancelOrder"), 0),
            **dict.fromkeys(("ClosedOrders", "TradesHistory", "QueryTrades", "Ledgers", "QueryLedgers"), 2),
        },
        polls=frozenset({"QueryOrders", "QueryTrades"}),
    )
    #: The same page: public calls are counted by address; about one a second is safe.
    per_address = RateLimit(5, 1)

    def funds(self) -> dict[str, Funds]:
        assets = self._assets()
        rows = self.api.private("BalanceEx")
        with parsing_errors(self.name):
            return funds_from_rows({} if rows is None else rows, assets)

    def place(self, order: NewOrder) -> OrderState:
        pair = self._check(order)
        result = self._execute("AddOrder", new_order_form(order, pair))
        with parsing_errors(self.name, mutates=True):
            txid = required_text(only_entry(result["txid"]))
        accepted = accepted_order(order, txid)
        if not is_short(order) and not order.post_only and order.stop is None:
            return accepted
        ref = OrderRef(order.side, order.currency, order.asset, order.client_id, exchange_order_id=txid)
        # A post-only order that Kraken took may be canceled by the next look, with the reason "Post only order"; one
        # with a stop is believed to have it when it is seen.
        state = poll_until_final(accepted, lambda: self.order(ref), seconds=4.0 if is_short(order) else 0.0)
        return check_placed(self.name, order, state)

    def place_many(self, orders: Sequence[NewOrder]) -> list[Outcome]:
        """Place those of a market together, at most 15 with one request; of a single one it is that of `place`."""
        return place_in_batches(orders, self._check, self._place_together, most=_BATCH)

    def _check(self, order: NewOrder) -> str:
        """Return the key of the market of an order. Raises Refused for one that breaks its rules, or is not taken."""
        pair = self._find_open_pair(order.currency, order.asset)
        check(order, pair.market)
        self.check_kind(order)
        return pair.key

    def _place_together(self, pair: str, orders: Sequence[NewOrder]) -> list[Outcome]:
        """Place orders of one market with an AddOrderBatch.

        "Add Order Batch": it takes 2 to 15, answers in their order, and refuses all when one is not valid. Those are
        certainly not executed, so they are placed one by one then, and only that one is refused. So are they where the
        key's counter is full: it counts this call, and not an AddOrder ("Spot REST Rate Limits").
        """
        if len(orders) == 1:
            return place_each(self.place, orders)
        try:
            result = self._execute("AddOrderBatch", new_orders_form(orders, pair))
        except ExchangeError as error:
            is_down = error.retryable and not isinstance(error, Busy)
            if error.may_have_executed or is_down or error.code == "exchange_key_refused":
                return [error] * len(orders)
            return place_each(self.place, orders)

        def read(order: NewOrder, row: Any) -> OrderState:
            if row.get("txid") is None:
                error = failure([required_text(row["error"])], mutates=True)
                raise self._unproved(error) or error
            return accepted_order(order, required_text(row["txid"]))

        outcomes = read_outcomes(self.name, orders, lambda: result["orders"], read)
        return poll_outcomes(self.name, orders, outcomes, self.read_orders)

    def order(self, ref: OrderRef) -> OrderState:
        rows = self.api.private("QueryOrders", {"txid": ref.exchange_order_id, "trades": True})
        return self._parse_order(rows, ref)

    def read_orders(self, refs: Sequence[OrderRef]) -> dict[str, OrderState]:
        """Read up to 50 orders with one QueryOrders. An id that Kraken does not know refuses all of its question."""
        wanted = {ref.exchange_order_id: ref for ref in refs if ref.exchange_order_id is not None}

        def read(ids: Sequence[str]) -> dict[str, OrderState]:
            rows = self.api.private("QueryOrders", {"txid": ",".join(ids), "trades": True})
            states: dict[str, OrderState] = {}
            for txid in ids:
                with suppress(Refused):
                    states[txid] = self._parse_order(rows, wanted[txid])
            return states

        return read_in_batches(read, list(wanted), _QUERY)

    def find(self, ref: OrderRef) -> OrderState | None:
        """Look among the open orders first: one that is filled between the two questions is seen by the second."""
        pairs = self._pairs()
        for method, key in (("OpenOrders", "open"), ("ClosedOrders", "closed")):
            result = self.api.private(method, {"cl_ord_id": ref.client_id, "trades": True})
            with parsing_errors(self.name):
                if any(client_id_from_row(row) != ref.client_id for row in result[key].values()):
                    # Of all orders only the last 50 come, so ours may be among those that did not.
                    raise ValueError("orders with other ids than the one asked for")
                for txid, row in result[key].items():
                    state = order_from_row(txid, row, pairs, ref)
                    if ref.stop not in (None, state.stop):
                        raise ValueError("an order with another stop")
                    return with_amount(self.api, state, row)
        return None

    def orders_since(self, since: datetime, *, wanted: int | None = None) -> list[OrderState]:
        """Ask for the open orders first: one that is over between the two questions is seen by the second.

        Kraken compares with times of its own clock: where ours is ahead of it, `since` is too, and the list begins
        earlier by as much. A row that cannot be understood has the status "unknown"; Refused when not even its client
        id can be read, for it may be any order then. A long list may need more calls than the key has at once: what was
        read before Busy stays read for a while.
        """
        result = self.api.private("OpenOrders")
        open_now = self._parse_listed(result, "open", "open", identified=True)
        # "Get Closed Orders": `start` is exclusive. What was created since then was also closed since then.
        start = since - _CLOCK_SKEW - self._seconds_ahead()
        asked = {"start": int(start.timestamp()), "closetime": "close"}

        def read_page(offset: int) -> tuple[dict[str, OrderState], int | None]:
            result = self.api.private("ClosedOrders", {**asked, "ofs": offset})
            page = self._parse_listed(result, "closed", "unknown", identified=True)
            with parsing_errors(self.name):
                count = count_of(result)
            if wanted is not None and count is not None and offset == 0:
                _check_worth(count - sum(map(len, blocks)), wanted)
            return page, count

        name = f"closed orders of {self.api.key} since {since}"
        kept = self.context.cache.get_or_fetch(name, list[dict[str, OrderState]], seconds=_KEPT_SECONDS)
        blocks = [*kept]
        try:
            closed = read_pages(read_page, blocks)
        except Refused:
            kept[:] = blocks
            raise
        self.context.cache.invalidate(name)
        return list((open_now | closed).values())

    def _seconds_ahead(self) -> timedelta:
        """Return by how much our clock is ahead of Kraken's; zero when it is behind."""
        answer = self.api.public("Time")
        with parsing_errors(self.name):
            return max(datetime.now(UTC) - time_from_seconds(answer["unixtime"]), timedelta(0))

    def confirm_no_older_request_pending(self) -> bool:
        """Ask with a newer nonce: Kraken refuses all older ones then, unless the key has a nonce window."""
        info = self.api.private("GetApiKeyInfo")
        with parsing_errors(self.name):
            return has_no_nonce_window(info)

    def open_orders(self) -> list[OrderState]:
        result = self.api.private("OpenOrders")
        with parsing_errors(self.name):
            rows = shown_rows(result, "open")
        return list(self._parse_listed({"open": rows}, "open", "open").values())

    def cancel(self, ref: OrderRef) -> None:
        by = {"cl_ord_id": ref.client_id} if ref.exchange_order_id is None else {"txid": ref.exchange_order_id}
        with cancel_errors():
            result = self.api.private("CancelOrder", by)
        with parsing_errors(self.name, mutates=True):
            # "Cancel Order": pending, it is being canceled, and may not be counted yet.
            if result.get("pending") is not True and int(parse_decimal(result["count"])) == 0:
                raise Refused("Kraken canceled nothing: the order is not open any more", code="order_not_open")

    def cancel_all(self) -> int:
        result = self.api.private("CancelAll")
        with parsing_errors(self.name, mutates=True):
            return int(parse_decimal(result["count"]))

    def deadman(self, seconds: int) -> None:
        """Set the timer of "Cancel All Orders After X"; it is off again when it has canceled."""
        result = self.api.private("CancelAllOrdersAfter", {"timeout": seconds})
        with parsing_errors(self.name, mutates=True):
            check_timer(result, seconds)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        """Return an address of `network`, one of Kraken's deposit methods; it is needed where an asset has several.

        Raises Refused while Kraken takes no deposits of the asset, although it still has addresses then.
        """
        key = self._asset_key(asset)
        rows = self.api.public("Assets", {"asset": key})
        with parsing_errors(self.name):
            check_takes_deposits(asset, rows[key])
        rows = self.api.private("DepositMethods", {"asset": key})
        with parsing_errors(self.name):
            method = choose_method(asset, list_or_nothing(rows), network)
        # An address comes again until a new one is asked for; the very first time there may be none.
        for new in (None, True):
            rows = self.api.private("DepositAddresses", {"asset": key, "method": method, "new": new})
            with parsing_errors(self.name):
                if addresses := usable_addresses(list_or_nothing(rows), asset, method):
                    return addresses[0]
        raise Refused(
            f"Kraken gave no address for {asset} that can be used", code="exchange_unavailable", retryable=True
        )

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """Send to an address of Kraken's own address book, by its name there: the book is read first."""
        key = self._asset_key(withdrawal.asset)
        rows = self.api.private("WithdrawAddresses", {"asset": key})
        with parsing_errors(self.name):
            row = choose_address(withdrawal, list_or_nothing(rows))
        # In the spelling of the book, which Kraken compares it with.
        form = {"asset": key, "key": row["key"], "address": row["address"], "amount": withdrawal.amount}
        result = self._execute("Withdraw", form)
        with parsing_errors(self.name, mutates=True):
            return Withdrawal(
                id=required_text(result["refid"]),
                asset=withdrawal.asset,
                amount=withdrawal.amount,
                status="pending",
                address=withdrawal.address,
                tag=withdrawal.tag,
                network=row.get("method"),
            )

    def transfer_account(self) -> str:
        return self.account_id()

    def transfer(self, transfer: NewTransfer) -> TransferState:
        """Move from the main account to a sub-account, by their IIBANs: Kraken takes keys of the main account alone.

        docs.kraken.com, "Account Transfer" (sub-accounts are for institutional clients), 2026-11-27.
        """
        key, own = self._asset_key(transfer.asset), self.account_id()
        check_other_account(self.name, own, transfer)
        form = {"asset": key, "amount": transfer.amount, "from": own, "to": transfer.address}
        result = self._execute("AccountTransfer", form)
        with parsing_errors(self.name, mutates=True):
            return TransferState(required_text(result["transfer_id"]), TRANSFER_STATUSES[result["status"]])

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows, assets = self._transfers("WithdrawStatus", asset)
        with parsing_errors(self.name):
            read = partial(withdrawal_from_row, assets=assets)
            withdrawals = listed_withdrawals(self.name, rows, read, asset)
        return newest_first(withdrawals, lambda withdrawal: withdrawal.created)

    def permissions(self) -> frozenset[str]:
        """Return what GetApiKeyInfo says, which needs no right itself."""
        result = self.api.private("GetApiKeyInfo")
        ours = {"query-funds": "read", "modify-trades": "trade", "withdraw-funds": "send"}
        with parsing_errors(self.name):
            return frozenset(ours[right] for right in ours if right in result["permissions"])

    def account_id(self) -> str:
        """Return the IIBAN, Kraken's number of an account, that GetApiKeyInfo has as `iban` ("AA88 N84G ...").

        docs.kraken.com, "Get API Key Info"; "Check v3 API key" says of the same number what it is.
        """
        result = self.api.private("GetApiKeyInfo")
        with parsing_errors(self.name):
            iban = result.get("iban")
        if not isinstance(iban, str) or not iban.strip():
            raise Unsupported(f"{self.name} does not tell which account this key belongs to")
        return iban.strip()

    def _parse_order(self, rows: Any, ref: OrderRef) -> OrderState:
        """Return the order of `ref` in the answer to QueryOrders. Raises Refused when it is not there."""
        pairs = self._pairs()
        with parsing_errors(self.name):
            row = rows[ref.exchange_order_id]
            return with_amount(self.api, order_from_row(ref.exchange_order_id or "", row, pairs, ref), row)

    def _parse_listed(
        self, result: Any, key: str, status: Status, *, identified: bool = False
    ) -> dict[str, OrderState]:
        """Return the orders of a list by their ids; what cannot be understood of one hides no other.

        `identified`: raise Refused when the client id of one cannot be read.
        """
        pairs = self._pairs()
        with parsing_errors(self.name):
            rows = result[key]
            if identified:
                for row in rows.values():
                    client_id_from_row(row)
            return {
                txid: listed_order(
                    self.name,
                    txid,
                    partial(order_from_row, txid, row, pairs),
                    status=status,
                    client_id=partial(client_id_from_row, row),
                )
                for txid, row in rows.items()
            }


def _check_worth(left: int, wanted: int) -> None:
    """Raise Unsupported where a list with so many orders `left` takes more calls than `find` of each that is wanted."""
    if left > _CLOSED * _FIND_CALLS * wanted:
        raise Unsupported(f"a list with {left} orders takes more calls than to ask for {wanted} of them")
