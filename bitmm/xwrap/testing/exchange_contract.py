"""The contract of an exchange as a test class to inherit. pytest runs it, but nothing here imports pytest.

    class TestDemo(ExchangeContract):
        currency, asset, amount = "EUR", "BTC", Decimal("0.01")
        send_to, send_amount = "bc1q...", Decimal("0.1")

        @pytest.fixture
        def exchange(self, venue):           # an exchange with enough of the currency and the asset
            keys = Credentials(apikey=venue.key, apisecret=venue.secret)
            return Demo(ExchangeContext(Transport(), keys, url=venue.url))

        @pytest.fixture
        def ledger(self, venue):             # a function: what was really executed, one row for each order and send
            return venue.ledger

Every operation that the class has is tried, every other one must raise Unsupported. Where an exchange has no such
order (a market, a limit, a cost order) `takes` leaves it out, and the order must be refused; so it is for `conditions`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, get_args
from unittest import SkipTest

from ..exchanges.account_history import LedgerEntry
from ..exchanges.base import Exchange
from ..exchanges.capabilities import OPERATIONS, supports
from ..exchanges.errors import ExchangeError, NotListedYet, Refused, Unsupported
from ..exchanges.models import (
    Deposit,
    DepositAddress,
    Estimate,
    Fill,
    Funds,
    Market,
    NewOrder,
    NewTransfer,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Side,
    TimeInForce,
    Withdrawal,
)
from ..money import EXACT, total
from ..transport import Request, Response, Transport
from .amendment_contract import AmendmentContract
from .batch_contract import BatchContract
from .checks import (
    check,
    check_equal,
    check_in,
    check_newest_first,
    check_record,
    check_stated,
    expect_refusal,
    has,
    skip_without,
)
from .deliveries import DeliverTwice, Ledger
from .market_contract import MarketContract

__all__ = ["ExchangeContract", "Ledger"]

_ZERO = Decimal(0)


class ExchangeContract(MarketContract, BatchContract, AmendmentContract):
    """The promises of exchanges/base.py as tests; each gets the fixtures `exchange` and `ledger` of the subclass."""

    #: An amount of the asset that the exchange takes, and a cost in the currency.
    amount: ClassVar[Decimal] = Decimal("0.01")
    cost: ClassVar[Decimal] = Decimal(100)
    #: The kinds of orders: "market" and "limit" (by amount), "cost" (market buys), "sell_cost" (market sells).
    takes: ClassVar[frozenset[str]] = frozenset({"market", "limit", "cost"})
    #: The conditions of orders that it takes: "post_only", "GTC", "IOC", "FOK", "GTD", "stop".
    conditions: ClassVar[frozenset[str]] = frozenset()
    #: A price far above the market; None: twice the buy price.
    far_price: ClassVar[Decimal | None] = None
    #: Whether the answer to a market order states the fee.
    tells_fee: ClassVar[bool] = True
    #: An address that the exchange sends the asset to, with its tag, and an amount; None: it sends nothing.
    send_to: ClassVar[str | None] = None
    send_tag: ClassVar[str | None] = None
    send_amount: ClassVar[Decimal] = Decimal("0.1")
    #: What the key of the fixture may do.
    permitted: ClassVar[frozenset[str]] = frozenset({"read", "trade", "send"})

    def pause(self) -> None:
        """Let the exchange's caches expire. Called between a change and the read that has to show it."""

    def test_the_facts_about_the_exchange_are_stated(self, exchange: Exchange) -> None:
        kind = type(exchange)
        for name in ("id", "name", "description"):
            check(getattr(kind, name), f"{kind.__name__}.{name} is empty")
        check_in("lifecycle", kind.lifecycle, ("open", "closed", "paper"))
        can_find = "find" in supports(kind)
        check((kind.order_lookup != "none") == can_find, f"order_lookup is {kind.order_lookup!r}, find: {can_find}")
        for field in kind.form:
            check(field.name and field.help, f"a field of the form has no name or no help: {field!r}")

    def test_a_missing_verb_says_so_and_does_nothing(self, exchange: Exchange, ledger: Ledger) -> None:
        order, ref = self._new("buy", amount=self.amount), self._unplaced()
        sent = NewWithdrawal(self.asset, self.send_amount, "nowhere", uuid.uuid4().hex)
        arguments: dict[str, tuple[Any, ...]] = {
            **dict.fromkeys(("rate", "ticker", "fees", "fills", "fills_page"), (self.currency, self.asset)),
            **dict.fromkeys(("order_book", "trades"), (self.currency, self.asset, 10)),
            "ledger_page": (None,),
            "deposits_page": (),
            "candles": (self.currency, self.asset, "1h", None, 10),
            "place": (order,),
            "amend": (ref, order),
            **dict.fromkeys(("order", "find", "cancel"), (ref,)),
            "deadman": (60,),
            "deposit_address": (self.asset,),
            "withdraw": (sent,),
            "find_withdrawal": (sent.client_id, *self._just_now()),
            "transfer": (NewTransfer(self.asset, self.send_amount, "nowhere", uuid.uuid4().hex),),
        }
        for operation in sorted(set(OPERATIONS) - set(supports(type(exchange)))):
            with expect_refusal("unsupported") as refusals:
                getattr(exchange, operation)(*arguments.get(operation, ()))
            check(isinstance(refusals[0], Unsupported), f"{operation} raised {refusals[0]!r}, expected Unsupported")
        _check_nothing_executed(ledger)

    def test_every_request_is_sent_in_its_turn(self, exchange: Exchange) -> None:
        """A request that is sent outside a throttle escapes the order of nonces and the exchange's limits."""
        transport, inside, outside = exchange.context.transport, [0], []

        @contextmanager
        def throttle(call: str, *, signed: bool) -> Iterator[None]:  # noqa: ARG001 - a Throttle
            check_equal(f"the number of throttles around that of '{call}'", inside[0], 0)
            inside[0] = 1
            try:
                yield
            finally:
                inside[0] = 0

        class Watched(Transport):
            def __init__(self) -> None:
                """Open no connections; those of the exchange's own transport are used."""

            def send(self, request: Request, *, timeout: float | None = None) -> Response:
                if not inside[0]:
                    outside.append(request)
                return transport.send(request, timeout=timeout)

        watched = exchange.with_context(replace(exchange.context, transport=Watched(), throttle=throttle))
        for operation, arguments in (
            ("markets", ()),
            ("rate", (self.currency, self.asset)),
            ("funds", ()),
            ("open_orders", ()),
            ("place", (self._new("buy", amount=self.amount),)),
            ("deposit_address", (self.asset,)),
        ):
            if operation in supports(type(exchange)):
                with suppress(Refused):
                    getattr(watched, operation)(*arguments)
        check_equal("the list of requests outside a throttle", outside, [])

    def test_names_are_taken_in_any_case(self, exchange: Exchange) -> None:
        pair = (self.currency, self.asset)
        for written in (pair, (self.currency.lower(), self.asset.lower()), (self.currency.upper(), self.asset.upper())):
            check_equal(f"the pair of {written!r}", exchange.common_pair(*written), pair)
            check_equal(f"the asset of {written[1]!r}", exchange.common_asset(written[1]), self.asset)

    def test_an_estimate_is_made_of_the_price_now(self, exchange: Exchange) -> None:
        skip_without(exchange, "rate")
        sides: tuple[Side, ...] = ("buy", "sell")
        for side in sides:
            estimate = check_record(exchange.estimate(self._new(side, amount=self.amount)), Estimate)
            price, spent, fee = estimate.price, estimate.spent, estimate.fee
            check(price is not None and price > 0, f"no price: {estimate!r}")
            value = EXACT.multiply(self.amount, price or _ZERO)
            check(spent is not None and abs(spent - value) <= value / 100, f"spent is not {value}: {estimate!r}")
            check((fee is None) == (estimate.fee_currency is None), f"a fee has a currency: {estimate!r}")
            check(fee is None or fee >= 0, f"a fee is negative: {estimate!r}")

    def test_funds_add_up(self, exchange: Exchange) -> None:
        skip_without(exchange, "funds")
        funds = {name: check_record(line, Funds) for name, line in exchange.funds().items()}
        check_in("the asset", self.asset, funds)
        check_in("the currency", self.currency, funds)
        for name, line in funds.items():
            check(name == name.strip() != "", f"funds() has the name {name!r}")
            if line.total is not None and line.available is not None and line.held is not None:
                parts = (line.available, line.held, line.earning or _ZERO)
                check_equal(f"the total of {name}", line.total, total(parts))
        totals = {name: line.total for name, line in funds.items() if line.total is not None}
        check_equal("balance()", exchange.balance(), totals)

    def test_the_permissions_of_the_key_are_told(self, exchange: Exchange) -> None:
        skip_without(exchange, "permissions")
        check_equal("permissions()", exchange.permissions(), self.permitted)

    def test_a_market_buy_is_executed_once_and_its_result_is_told(self, exchange: Exchange, ledger: Ledger) -> None:
        self._check_market_order("buy", exchange, ledger)

    def test_a_market_sell_is_executed_once_and_its_result_is_told(self, exchange: Exchange, ledger: Ledger) -> None:
        self._check_market_order("sell", exchange, ledger)

    def _check_market_order(self, side: Side, exchange: Exchange, ledger: Ledger) -> None:
        self._skip_without_order(exchange, "market")
        before = self._totals(exchange)
        order = self._new(side, amount=self.amount)
        state = self._place(exchange, order)
        _check_executed_once(ledger)
        check_equal("status", state.status, "filled")
        check_equal("filled", state.filled, self.amount)
        check_in("amount", state.amount, (None, self.amount))
        self._check_result(state)
        self._check_totals(before, exchange, state)

    def test_a_buy_for_a_cost_spends_no_more_than_that(self, exchange: Exchange, ledger: Ledger) -> None:
        self._skip_without_order(exchange, "cost")
        before = self._totals(exchange)
        state = self._place(exchange, self._new("buy", cost=self.cost))
        _check_executed_once(ledger)
        check_equal("status", state.status, "filled")
        spent = check_stated("spent", state.spent)
        lowest, highest = self.cost * Decimal("0.95"), self.cost * Decimal("1.001")
        check(lowest < spent <= highest, f"spent is {spent}, expected more than {lowest} and at most {highest}")
        self._check_result(state)
        self._check_totals(before, exchange, state)

    def test_a_sell_for_a_cost_brings_no_more_than_that(self, exchange: Exchange, ledger: Ledger) -> None:
        self._skip_without_order(exchange, "sell_cost")
        before = self._totals(exchange)
        state = self._place(exchange, self._new("sell", cost=self.cost))
        _check_executed_once(ledger)
        check_equal("status", state.status, "filled")
        spent = check_stated("spent", state.spent)
        lowest = self.cost * Decimal("0.95")
        check(lowest < spent <= self.cost, f"it brought {spent}, expected more than {lowest}, at most {self.cost}")
        self._check_result(state)
        self._check_totals(before, exchange, state)

    def test_kinds_of_orders_that_are_not_taken_are_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        skip_without(exchange, "place")
        orders = {
            "market": self._new("buy", amount=self.amount),
            "cost": self._new("buy", cost=self.cost),
            "sell_cost": self._new("sell", cost=self.cost),
            "limit": self._new("sell", amount=self.amount, price=self.far_price or Decimal(1_000_000)),
        }
        for kind in sorted(set(orders) - self.takes):
            for refuse in (exchange.place, exchange.check_kind):
                with expect_refusal("unsupported"):
                    refuse(orders[kind])
        for kind in sorted(set(orders) & self.takes):
            exchange.check_kind(orders[kind])
        _check_nothing_executed(ledger)

    def test_conditions_that_are_not_taken_are_refused_by_name(self, exchange: Exchange, ledger: Ledger) -> None:
        self._skip_without_order(exchange, "limit")
        resting = self._resting_order(exchange)
        orders = {
            "post_only": replace(resting, post_only=True),
            **{word: replace(resting, time_in_force=word) for word in get_args(TimeInForce)},
            "GTD": self._until(resting, datetime.now(UTC) + timedelta(hours=1)),
        }
        for condition, order in orders.items():
            if condition in self.conditions:
                exchange.check_kind(order)
                continue
            for refuse in (exchange.place, exchange.check_kind):
                with expect_refusal("unsupported") as refusals:
                    refuse(order)
                words = refusals[0].reason
                for other in self.conditions - {"stop"}:
                    check_in("what it has", other.replace("_", "-"), words)
        _check_nothing_executed(ledger)

    def test_a_stop_is_held_by_the_exchange_or_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        for kind, order in self._stop_orders(exchange).items():
            if "stop" in self.conditions:
                exchange.check_kind(order)
                continue
            for refuse in (exchange.place, exchange.check_kind):
                with expect_refusal("unsupported") as refusals:
                    refuse(order)
                if kind in self.takes:
                    check_in("why", "this server holds none", refusals[0].reason)
        if "stop" not in self.conditions:
            _check_nothing_executed(ledger)

    def test_what_a_stop_does_not_go_with_is_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        orders = self._stop_orders(exchange)
        stop_limit = orders["limit"]
        wrong = [
            replace(stop_limit, post_only=True),
            replace(stop_limit, time_in_force="IOC"),
            self._until(stop_limit, datetime.now(UTC) + timedelta(hours=1)),
        ]
        for order in wrong:
            for refuse in (exchange.place, exchange.check_kind):
                with expect_refusal("invalid_request"):
                    refuse(order)
        _check_nothing_executed(ledger)

    def test_an_order_with_a_stop_waits_is_found_and_can_be_canceled(self, exchange: Exchange, ledger: Ledger) -> None:
        self._skip_without_condition(exchange, "stop")
        for order in self._stop_orders(exchange).values():
            before, executed = self._held(exchange), len(ledger())
            state = self._place(exchange, order)
            self._check_resting(state, order, "open")
            check_equal("stop", state.stop, order.stop)
            check_equal("the number of orders", len(ledger()), executed + 1)
            self.pause()
            if before is not None:
                # Some hold it only when the order begins.
                check_in(f"what is held of {self.asset}", self._held(exchange), (before, before + self.amount))
            ref = _reference(order, state)
            listed = self._open_orders(exchange)[state.exchange_order_id]
            found = check_record(check_stated("find()", exchange.find(_reference(order, None))), OrderState)
            for each in (listed, found, exchange.order(ref)):
                self._check_resting(each, order, "open")
                check_equal("stop", each.stop, order.stop)
            exchange.cancel(ref)
            self.pause()
            self._check_resting(exchange.order(replace(ref, is_over=True)), order, "canceled")
            check_equal(f"what is held of {self.asset}", self._held(exchange), before)

    def _stop_orders(self, exchange: Exchange) -> dict[str, NewOrder]:
        """Return a market and a limit order that sell when the price has fallen by a tenth."""
        self._skip_without_order(exchange, "limit")
        price = exchange.rate(self.currency, self.asset).sell * Decimal("0.9")
        step = (self._market(exchange).price_step if has(exchange, "markets") else None) or Decimal("0.01")
        stop = price - price % step
        market = replace(self._new("sell", amount=self.amount), stop=stop)
        return {"market": market, "limit": replace(market, price=stop - step, client_id=uuid.uuid4().hex)}

    def test_a_post_only_order_rests_or_is_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        self._skip_without_condition(exchange, "post_only")
        taking = replace(self._resting_order(exchange), side="buy", post_only=True, price=self._taking_price(exchange))
        with expect_refusal("would_take", proved=False):
            exchange.place(taking)
        _check_nothing_executed(ledger)
        order = replace(self._resting_order(exchange), post_only=True)
        check_equal("status", self._place(exchange, order).status, "open")
        _check_executed_once(ledger)

    def test_an_order_that_ends_at_once_is_filled_or_canceled_with_a_reason(self, exchange: Exchange) -> None:
        for word in ("IOC", "FOK"):
            if word not in self.conditions:
                continue
            resting = replace(self._resting_order(exchange), time_in_force=word)
            state = self._place(exchange, resting)
            self._check_resting(state, resting, "canceled")
            check_stated("reason", state.reason)
            taking = replace(resting, side="buy", price=self._taking_price(exchange), client_id=uuid.uuid4().hex)
            state = self._place(exchange, taking)
            check_equal("status", state.status, "filled")
            check_equal("filled", state.filled, self.amount)
            if has(exchange, "find"):
                self.pause()
                found = check_stated("find()", exchange.find(_reference(taking, None)))
                check_equal("status of the one found", found.status, "filled")

    def test_an_order_until_a_time_rests(self, exchange: Exchange) -> None:
        self._skip_without_condition(exchange, "GTD")
        order = self._until(self._resting_order(exchange), datetime.now(UTC) + timedelta(hours=1))
        check_equal("status", self._place(exchange, order).status, "open")
        over = self._until(self._resting_order(exchange), datetime(2009, 1, 3, tzinfo=UTC))
        with expect_refusal("invalid_request"):
            exchange.place(over)

    def test_fills_tell_what_was_executed_newest_first(self, exchange: Exchange) -> None:
        skip_without(exchange, "fills")
        self._skip_without_order(exchange, "market")
        states = [self._place(exchange, self._new(side, amount=self.amount)) for side in ("buy", "sell")]
        self.pause()
        fills = [check_record(fill, Fill) for fill in exchange.fills(self.currency, self.asset)]
        check_newest_first("fills()", [fill.time for fill in fills])
        ids = [fill.id for fill in fills]
        check(len(set(ids)) == len(ids), f"a fill is listed twice: {ids!r}")
        for state in states:
            mine = [fill for fill in fills if fill.exchange_order_id in (None, state.exchange_order_id)]
            mine = [fill for fill in mine if fill.side == state.side]
            check_equal(f"the amount of the fills {mine!r}", total(fill.amount for fill in mine), state.filled)
            pairs = {(fill.currency, fill.asset) for fill in mine}
            check_equal("the pairs of the fills", pairs, {(self.currency, self.asset)})

    def test_a_page_of_fills_is_the_latest_ones_and_a_wrong_cursor_is_refused(self, exchange: Exchange) -> None:
        skip_without(exchange, "fills_page")
        self._skip_without_order(exchange, "market")
        self._place(exchange, self._new("buy", amount=self.amount))
        self.pause()
        page = exchange.fills_page(self.currency, self.asset)
        rows = [check_record(fill, Fill) for fill in page.rows]
        check_equal("the ids of the page", [fill.id for fill in rows], self._fill_ids(exchange))
        with expect_refusal("invalid_request"):
            exchange.fills_page(self.currency, self.asset, "no cursor")

    def test_the_ledger_is_what_moved_the_money_oldest_first(self, exchange: Exchange) -> None:
        skip_without(exchange, "ledger_page", "funds")
        self._skip_without_order(exchange, "market")
        # Where money came only with the first look at the account, it came before.
        earlier = {entry.id for entry in self._ledger(exchange, None)}
        since = datetime.now(UTC)
        before = exchange.balance()
        self._place(exchange, self._new("buy", amount=self.amount))
        self.pause()
        entries = [check_record(entry, LedgerEntry) for entry in self._ledger(exchange, since)]
        check_equal("the entries of before", {entry.id for entry in entries} & earlier, set())
        moved = {name: amount for name, amount in exchange.balance().items() if amount != before.get(name)}
        added = dict(before)
        for entry in entries:
            change = EXACT.subtract(check_stated("amount", entry.amount), check_stated("fee", entry.fee))
            added[entry.asset] = EXACT.add(added.get(entry.asset, Decimal(0)), change)
        check_equal("what the entries add up to", {name: added[name] for name in moved}, moved)
        check_in("the kind of the entries", "fill", {entry.kind for entry in entries})
        times = [entry.time for entry in entries]
        check_equal("the times of the entries", times, sorted(times))
        with expect_refusal("invalid_request"):
            exchange.ledger_page(since, "no cursor")

    def _ledger(self, exchange: Exchange, since: datetime | None) -> Iterator[LedgerEntry]:
        cursor: str | None = None
        while True:
            page = exchange.ledger_page(since, cursor)
            yield from page.rows
            if (cursor := page.next) is None:
                return

    def _fill_ids(self, exchange: Exchange) -> list[str]:
        return [fill.id for fill in exchange.fills(self.currency, self.asset)]

    def test_a_limit_order_rests_is_seen_and_can_be_canceled(self, exchange: Exchange, ledger: Ledger) -> None:
        order = self._resting_order(exchange)
        before = self._held(exchange)
        state = self._place(exchange, order)
        ref = _reference(order, state)
        check_equal("status", state.status, "open")
        _check_executed_once(ledger)
        self.pause()
        if before is not None:
            check_equal(f"what is held of {self.asset}", self._held(exchange), before + self.amount)
        if has(exchange, "open_orders"):
            listed = self._open_orders(exchange)
            check_in("the order", state.exchange_order_id, listed)
            self._check_resting(listed[state.exchange_order_id], order, "open")
        if has(exchange, "order"):
            self._check_resting(check_record(exchange.order(ref), OrderState), order, "open")
        if not has(exchange, "cancel"):
            return
        exchange.cancel(ref)
        self.pause()
        if has(exchange, "open_orders"):
            listed = self._open_orders(exchange)
            check(state.exchange_order_id not in listed, f"the canceled order is among the open ones: {listed!r}")
        if has(exchange, "order"):
            gone = check_record(exchange.order(replace(ref, is_over=True)), OrderState)
            self._check_resting(gone, order, "canceled" if type(exchange).reads_closed_orders else "closed")
            check(gone.reason or gone.status != "closed", "the order is closed, and no reason says what is not known")
        check_equal(f"what is held of {self.asset}", self._held(exchange), before)
        with expect_refusal("order_not_open"):
            exchange.cancel(ref)

    def test_cancel_all_leaves_no_order_open(self, exchange: Exchange) -> None:
        skip_without(exchange, "cancel_all", "open_orders")
        for _ in range(2):
            self._place(exchange, self._resting_order(exchange))
        self.pause()
        check_equal("cancel_all()", exchange.cancel_all(), 2)
        self.pause()
        check_equal("open_orders()", exchange.open_orders(), [])
        check_equal("cancel_all() without an open order", exchange.cancel_all(), 0)

    def test_the_exchanges_own_timer_that_is_called_off_leaves_orders_alone(self, exchange: Exchange) -> None:
        skip_without(exchange, "deadman", "open_orders")
        state = self._place(exchange, self._resting_order(exchange))
        for seconds in (60, 60, 0, 0):
            exchange.deadman(seconds)
        self.pause()
        check_in("the order", state.exchange_order_id, self._open_orders(exchange))

    def test_an_order_that_was_placed_is_not_called_refused_when_nothing_more_may_be_asked(
        self, exchange: Exchange, ledger: Ledger
    ) -> None:
        """A throttle may refuse any request: also the reads that follow the one which places."""
        skip_without(exchange, "place")
        throttle = exchange.context.throttle

        @contextmanager
        def refusing(call: str, *, signed: bool) -> Iterator[None]:
            with throttle(call, signed=signed):
                if ledger():
                    raise Refused("nothing more may be asked", code="frozen")
                yield

        stopped = exchange.with_context(replace(exchange.context, throttle=refusing))
        kind = "market" if "market" in self.takes else "limit"
        price = None if kind == "market" else self._far_price(exchange)
        order = self._new("sell", amount=self.amount, price=price)
        try:
            self._place(stopped, order)
        except ExchangeError as error:
            check(error.may_have_executed, f"{error!r}, and these were executed: {ledger()!r}")
        _check_executed_once(ledger)

    def test_an_open_order_is_found_by_our_id(self, exchange: Exchange) -> None:
        skip_without(exchange, "find")
        order = self._resting_order(exchange)
        state = self._place(exchange, order)
        self.pause()
        found = check_record(check_stated("find()", exchange.find(_reference(order, None))), OrderState)
        self._check_resting(found, order, "open")
        check_equal("exchange_order_id", found.exchange_order_id, state.exchange_order_id)

    def test_a_finished_order_is_found_by_our_id(self, exchange: Exchange) -> None:
        skip_without(exchange, "find")
        self._skip_without_order(exchange, "market")
        if type(exchange).order_lookup != "all":
            raise SkipTest("it finds open orders only")
        order = self._new("buy", amount=self.amount)
        state = self._place(exchange, order)
        self.pause()
        found = check_record(check_stated("find()", exchange.find(_reference(order, None))), OrderState)
        check_equal("exchange_order_id", found.exchange_order_id, state.exchange_order_id)
        check_equal("status", found.status, "filled")
        check_equal("filled", found.filled, self.amount)

    def test_an_order_that_never_came_is_not_found(self, exchange: Exchange) -> None:
        skip_without(exchange, "find")
        check_equal("find()", exchange.find(self._unplaced()), None)

    def test_many_orders_are_read_at_once_as_each_would_be_alone(self, exchange: Exchange) -> None:
        skip_without(exchange, "order")
        orders = [self._resting_order(exchange) for _ in range(2)]
        if "market" in self.takes:
            orders.append(self._new("buy", amount=self.amount))
        refs = [_reference(order, self._place(exchange, order)) for order in orders]
        self.pause()
        states = {id: check_record(state, OrderState) for id, state in exchange.read_orders(refs).items()}
        check_equal("read_orders()", states, {ref.exchange_order_id: exchange.order(ref) for ref in refs})
        check_equal("read_orders() of none", exchange.read_orders([]), {})

    def test_many_orders_are_found_at_once_as_each_would_be_alone(self, exchange: Exchange) -> None:
        if type(exchange).find_many is Exchange.find_many:
            with expect_refusal("unsupported"):
                exchange.find_many([self._unplaced()])
            return
        refs = self._open_and_over(exchange)
        refs.insert(1, self._unplaced())
        check_equal("find_many()", exchange.find_many(refs), [exchange.find(ref) for ref in refs])
        check_equal("find_many() of none", exchange.find_many([]), [])

    def test_all_orders_since_a_time_are_listed_open_and_over(self, exchange: Exchange) -> None:
        since = datetime.now(UTC)
        if type(exchange).orders_since is Exchange.orders_since:
            with expect_refusal("unsupported"):
                exchange.orders_since(since)
            return
        refs = self._open_and_over(exchange)
        states = exchange.orders_since(since, wanted=100)
        listed = {state.client_id: check_record(state, OrderState) for state in states}
        expected = {ref.client_id: exchange.find(ref) for ref in refs}
        check_equal("the orders of orders_since()", {id: listed.get(id) for id in expected}, expected)

    def test_whether_an_older_request_may_still_be_executed_is_a_plain_answer(self, exchange: Exchange) -> None:
        answer = exchange.confirm_no_older_request_pending()
        check_in("confirm_no_older_request_pending()", answer, (True, False))
        check(not answer or type(exchange).ordered, "only nonces that must rise end older requests")

    def test_an_order_that_is_delivered_twice_is_not_called_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        """The first delivery of an order that takes all there is is executed; what comes back is the second answer."""
        skip_without(exchange, "place", "funds")
        available = check_stated("what is there", exchange.funds()[self.asset].available)
        price = self._far_price(exchange) if "limit" in self.takes else None
        order = self._new("sell", amount=available, price=price)
        unknown = self._deliver_twice(exchange, ledger, "place", order)
        if unknown is not None and has(exchange, "find"):
            self.pause()
            with suppress(NotListedYet):
                check_stated("find()", exchange.find(_reference(order, None)))

    def test_a_withdrawal_that_is_delivered_twice_is_not_called_refused(
        self, exchange: Exchange, ledger: Ledger
    ) -> None:
        skip_without(exchange, "withdraw", "funds")
        sent = self._withdrawal(check_stated("what is there", exchange.funds()[self.asset].available))
        unknown = self._deliver_twice(exchange, ledger, "withdraw", sent)
        if unknown is not None and has(exchange, "find_withdrawal"):
            self.pause()
            with suppress(NotListedYet):
                check_stated("find_withdrawal()", exchange.find_withdrawal(sent.client_id, *self._just_now()))

    def _deliver_twice(self, exchange: Exchange, ledger: Ledger, verb: str, request: object) -> ExchangeError | None:
        """Return why the outcome is unknown of a call whose executing request is delivered twice; None: it is told."""
        transport = DeliverTwice(exchange.context.transport, ledger)
        repeating = exchange.with_context(replace(exchange.context, transport=transport))
        try:
            getattr(repeating, verb)(request)
        except ExchangeError as error:
            check(error.may_have_executed, f"{error!r}, and these were executed: {ledger()!r}")
            check(ledger(), f"nothing was executed: {error!r}")
            return error
        return None

    def test_more_than_is_there_is_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        skip_without(exchange, "place", "funds")
        line = exchange.funds()[self.asset]
        available = check_stated("what is there", line.total if line.available is None else line.available)
        price = None if "market" in self.takes else self._far_price(exchange)
        with expect_refusal("insufficient_funds", proved=False):
            exchange.place(self._new("sell", amount=available + self.amount, price=price))
        _check_nothing_executed(ledger)

    def test_an_unknown_market_is_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        skip_without(exchange, "place")
        price = None if "market" in self.takes else Decimal(1)
        order = NewOrder("buy", self.currency, "NOSUCH", uuid.uuid4().hex, amount=self.amount, price=price)
        with expect_refusal("unknown_market", "unknown_asset"):
            exchange.place(order)
        _check_nothing_executed(ledger)

    def test_an_amount_with_too_many_digits_is_refused_and_not_rounded(
        self, exchange: Exchange, ledger: Ledger
    ) -> None:
        step = self._market(exchange).amount_step
        if step is None:
            raise SkipTest("it states no step")
        price = None if "market" in self.takes else self._far_price(exchange)
        with expect_refusal("amount_step", "invalid_amount") as refusals:
            exchange.place(self._new("sell", amount=self.amount + step / 10, price=price))
        nearest = refusals[0].details.get("nearest")
        check(nearest is None or Decimal(nearest) % step == 0, f"the nearest amount is {nearest}, the step {step}")
        _check_nothing_executed(ledger)

    def test_an_amount_below_the_minimum_is_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        market = self._market(exchange)
        if not market.amount_min or not market.amount_step or market.amount_min < 10 * market.amount_step:
            raise SkipTest("it states no minimum")
        price = None if "market" in self.takes else self._far_price(exchange)
        with expect_refusal("amount_min", "invalid_amount"):
            exchange.place(self._new("sell", amount=market.amount_min / 10, price=price))
        _check_nothing_executed(ledger)

    def test_there_is_an_address_to_send_the_asset_to(self, exchange: Exchange) -> None:
        skip_without(exchange, "deposit_address")
        address = check_record(exchange.deposit_address(self.asset), DepositAddress)
        check_equal("asset", address.asset, self.asset)
        check_equal("the address", address.address, address.address.strip())

    def test_an_address_for_an_unknown_asset_is_refused(self, exchange: Exchange) -> None:
        skip_without(exchange, "deposit_address")
        with expect_refusal("unknown_asset", "unsupported"):
            exchange.deposit_address("NOSUCH")

    def test_a_withdrawal_is_sent_once_and_listed(self, exchange: Exchange, ledger: Ledger) -> None:
        skip_without(exchange, "withdraw")
        before = self._totals(exchange)
        asked = self._withdrawal(self.send_amount)
        made = check_record(exchange.withdraw(asked), Withdrawal)
        check_stated("id", made.id)
        for name in ("asset", "amount", "address", "tag"):
            check_equal(name, getattr(made, name), getattr(asked, name))
        check_in("status", made.status, ("pending", "done", "unknown"))
        check_equal("the kinds of rows in the ledger", [row["kind"] for row in ledger()], ["withdrawal"])
        self.pause()
        after = self._totals(exchange)
        if self.asset in before:
            taken, highest = before[self.asset] - after[self.asset], self.send_amount + (made.fee or _ZERO)
            check(self.send_amount <= taken <= highest, f"{taken} left, expected {self.send_amount} to {highest}")
        if has(exchange, "withdrawals"):
            listed = {row.id: check_record(row, Withdrawal) for row in exchange.withdrawals(self.asset)}
            check_in("the withdrawal", made.id, listed)
            check_equal("asset", listed[made.id].asset, self.asset)
            check_in("the withdrawal", made.id, [row.id for row in exchange.withdrawals()])

    def test_a_withdrawal_is_found_by_our_id(self, exchange: Exchange) -> None:
        skip_without(exchange, "find_withdrawal")
        asked = self._withdrawal(self.send_amount)
        made = exchange.withdraw(asked)
        self.pause()
        answer = exchange.find_withdrawal(asked.client_id, *self._just_now())
        found = check_record(check_stated("find_withdrawal()", answer), Withdrawal)
        check_equal("id", found.id, made.id)
        check_equal("asset", found.asset, self.asset)

    def test_a_withdrawal_that_never_came_is_not_found(self, exchange: Exchange) -> None:
        """Another one, of the same asset and amount, is not taken for it."""
        skip_without(exchange, "find_withdrawal")
        exchange.withdraw(self._withdrawal(self.send_amount))
        self.pause()
        since, until = (moment - timedelta(seconds=600) for moment in self._just_now())
        check_equal("find_withdrawal()", exchange.find_withdrawal(uuid.uuid4().hex, since, until), None)

    def test_a_withdrawal_of_more_than_is_there_is_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        skip_without(exchange, "withdraw", "funds")
        owned = check_stated("the total", exchange.funds()[self.asset].total)
        with expect_refusal("insufficient_funds", "invalid_amount", proved=False):
            exchange.withdraw(self._withdrawal(owned + self.send_amount))
        _check_nothing_executed(ledger)

    def test_deposits_are_told_newest_first(self, exchange: Exchange) -> None:
        skip_without(exchange, "deposits")
        rows = [check_record(row, Deposit) for row in exchange.deposits()]
        check_newest_first("deposits()", [row.time for row in rows if row.time is not None])
        for row in rows:
            check(row.amount > 0, f"a deposit is not above zero: {row!r}")
        for row in exchange.deposits(self.asset):
            check_equal(f"the asset of {row!r}", row.asset, self.asset)

    def _new(
        self, side: Side, *, amount: Decimal | None = None, price: Decimal | None = None, cost: Decimal | None = None
    ) -> NewOrder:
        return NewOrder(side, self.currency, self.asset, uuid.uuid4().hex, amount=amount, price=price, cost=cost)

    def _unplaced(self) -> OrderRef:
        now = datetime.now(UTC)
        return OrderRef("buy", self.currency, self.asset, uuid.uuid4().hex, created=now, amount=self.amount)

    def _just_now(self) -> tuple[datetime, datetime]:
        now = datetime.now(UTC)
        return now - timedelta(seconds=60), now

    def _skip_without_order(self, exchange: Exchange, kind: str) -> None:
        skip_without(exchange, "place")
        if kind not in self.takes:
            raise SkipTest(f"it takes no {kind} orders")

    def _skip_without_condition(self, exchange: Exchange, condition: str) -> None:
        self._skip_without_order(exchange, "limit")
        if condition not in self.conditions:
            raise SkipTest(f"it has no {condition} orders")

    @staticmethod
    def _until(order: NewOrder, end: datetime) -> NewOrder:
        return replace(order, time_in_force="GTD", expires=end.replace(microsecond=0))

    def _taking_price(self, exchange: Exchange) -> Decimal:
        """Return a price a tenth above the market, at which a buy is filled at once."""
        price = exchange.rate(self.currency, self.asset).buy * Decimal("1.1")
        step = self._market(exchange).price_step
        return price if step is None else price - price % step

    def _far_price(self, exchange: Exchange) -> Decimal:
        if self.far_price is not None:
            return self.far_price
        price, step = 2 * exchange.rate(self.currency, self.asset).buy, self._market(exchange).price_step
        return price if step is None else price - price % step

    def _market(self, exchange: Exchange) -> Market:
        skip_without(exchange, "place", "markets")
        wanted = (self.currency, self.asset)
        return next(market for market in exchange.markets() if (market.currency, market.asset) == wanted)

    def _open_and_over(self, exchange: Exchange) -> list[OrderRef]:
        """Place an order that is canceled then, one that stays open, and where it is possible one that is filled."""
        orders = [self._resting_order(exchange) for _ in range(2)]
        if "market" in self.takes:
            orders.append(self._new("buy", amount=self.amount))
        refs = [_reference(order, self._place(exchange, order)) for order in orders]
        exchange.cancel(refs[0])
        self.pause()
        return refs

    def _resting_order(self, exchange: Exchange) -> NewOrder:
        self._skip_without_order(exchange, "limit")
        return self._new("sell", amount=self.amount, price=self._far_price(exchange))

    def _place(self, exchange: Exchange, order: NewOrder) -> OrderState:
        """Return the state of the order once placed, which does not contradict what was ordered."""
        state = check_record(exchange.place(order), OrderState)
        check_stated("exchange_order_id", state.exchange_order_id)
        for name in ("side", "currency", "asset", "client_id"):
            check_in(name, getattr(state, name), (None, getattr(order, name)))
        return state

    def _check_result(self, state: OrderState) -> None:
        filled, average = check_stated("filled", state.filled), check_stated("average", state.average)
        spent = check_stated("spent", state.spent)
        check(filled and average and spent, f"filled, average or spent is zero: {state!r}")
        product = EXACT.multiply(average, filled)
        close = abs(product - spent) <= abs(spent) * Decimal("0.0001")
        check(close, f"average times filled is {product}, expected about {spent} (spent)")
        if self.tells_fee:
            check(check_stated("fee", state.fee) >= 0, f"the fee is {state.fee}")
            check_in("fee_currency", state.fee_currency, (self.currency, self.asset))

    def _check_totals(self, before: Mapping[str, Decimal], exchange: Exchange, state: OrderState) -> None:
        """Check that what is owned changed by exactly what the order states."""
        if not before or not self.tells_fee:
            return
        self.pause()
        after = self._totals(exchange)
        sign = 1 if state.side == "buy" else -1
        changes = {self.asset: sign * (state.filled or _ZERO), self.currency: -sign * (state.spent or _ZERO)}
        changes[str(state.fee_currency)] -= state.fee or _ZERO
        check_equal("the change of the balance", {name: after[name] - before[name] for name in changes}, changes)

    def _totals(self, exchange: Exchange) -> dict[str, Decimal]:
        return exchange.balance() if has(exchange, "funds") else {}

    def _held(self, exchange: Exchange) -> Decimal | None:
        return exchange.funds()[self.asset].held if has(exchange, "funds") else None

    def _open_orders(self, exchange: Exchange) -> dict[str, OrderState]:
        return {state.exchange_order_id: check_record(state, OrderState) for state in exchange.open_orders()}

    def _check_resting(self, state: OrderState, order: NewOrder, status: str) -> None:
        """Check that the state is that of the order, of which nothing was executed."""
        check_equal("status", state.status, status)
        for name in ("side", "currency", "asset", "amount", "price", "client_id"):
            check_in(name, getattr(state, name), (None, getattr(order, name)))
        check_in("filled", state.filled, (None, _ZERO))
        check_equal("average", state.average, None)

    def _withdrawal(self, amount: Decimal) -> NewWithdrawal:
        address = check_stated("send_to (an address that the exchange sends to)", self.send_to)
        return NewWithdrawal(self.asset, amount, address, uuid.uuid4().hex, tag=self.send_tag)


def _reference(order: NewOrder, state: OrderState | None) -> OrderRef:
    placed = None if state is None else state.exchange_order_id
    return OrderRef(
        order.side,
        order.currency,
        order.asset,
        order.client_id,
        placed,
        created=datetime.now(UTC),
        amount=order.amount,
        price=order.price,
        stop=order.stop,
    )


def _check_nothing_executed(ledger: Ledger) -> None:
    check_equal("the ledger", list(ledger()), [])


def _check_executed_once(ledger: Ledger) -> None:
    rows = ledger()
    check(len(rows) == 1, f"the ledger is {rows!r}, expected one row")
