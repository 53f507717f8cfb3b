"""The contract of an exchange as a test class to inherit; pytest runs it, but nothing here imports pytest.

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

Every verb that the class has is tried, every other one must say that it is not there. Where an exchange has no such
order (a market, a limit, a cost order) `takes` leaves it out, and the order must be refused.
"""

# ruff: noqa: S101 - a test class asserts
from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, TypeVar
from unittest import SkipTest

from ..exchanges.base import Exchange
from ..exchanges.capabilities import OPERATIONS, supports
from ..exchanges.errors import Refused, Unsupported
from ..exchanges.models import (
    Deposit,
    DepositAddress,
    Fill,
    Funds,
    Market,
    NewOrder,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Rate,
    Side,
    Withdrawal,
)
from ..money import EXACT, total
from ..transport import Request, Response, Transport

__all__ = ["ExchangeContract", "Ledger"]

Ledger = Callable[[], Sequence[Mapping[str, Any]]]

_ZERO = Decimal(0)
_Record = TypeVar("_Record")


class ExchangeContract:
    """What base.py promises, tried. Each test gets an `exchange` and its `ledger`; see the module's docstring."""

    currency: ClassVar[str] = "EUR"
    asset: ClassVar[str] = "BTC"
    #: An amount of the asset that the exchange takes, and a cost in the currency.
    amount: ClassVar[Decimal] = Decimal("0.01")
    cost: ClassVar[Decimal] = Decimal(100)
    #: The kinds of orders: "market" and "limit" (by amount), "cost" (market buys).
    takes: ClassVar[frozenset[str]] = frozenset({"market", "limit", "cost"})
    #: A price far above the market; None: twice the buy price.
    far_price: ClassVar[Decimal | None] = None
    #: Whether the answer to a market order tells the fee.
    tells_fee: ClassVar[bool] = True
    #: An address that the exchange sends the asset to, with its tag, and an amount; None: it sends nothing.
    send_to: ClassVar[str | None] = None
    send_tag: ClassVar[str | None] = None
    send_amount: ClassVar[Decimal] = Decimal("0.1")
    #: What the key of the fixture may do.
    permitted: ClassVar[frozenset[str]] = frozenset({"read", "trade", "send"})

    def pause(self) -> None:
        """Called between an act and the reading of what it changed: let the exchange's caches grow old here."""

    # --- what the class says of itself ---

    def test_the_facts_about_the_exchange_are_stated(self, exchange: Exchange) -> None:
        kind = type(exchange)
        assert kind.id
        assert kind.name
        assert kind.description
        assert kind.lifecycle in ("open", "closed", "paper")
        assert (kind.order_lookup != "none") == ("find" in supports(kind)), "order_lookup and find contradict"
        assert all(field.name and field.help for field in kind.form)

    def test_a_missing_verb_says_so_and_does_nothing(self, exchange: Exchange, ledger: Ledger) -> None:
        order, ref = self._new("buy", amount=self.amount), self._unplaced()
        sent = NewWithdrawal(self.asset, self.send_amount, "nowhere", uuid.uuid4().hex)
        arguments: dict[str, tuple[Any, ...]] = {
            "rate": (self.currency, self.asset),
            "fills": (self.currency, self.asset),
            "place": (order,),
            **dict.fromkeys(("order", "find", "cancel"), (ref,)),
            "deposit_address": (self.asset,),
            "withdraw": (sent,),
            "find_withdrawal": (sent.client_id, *self._just_now()),
        }
        for verb in sorted(set(OPERATIONS) - set(supports(type(exchange)))):
            with _refused("unsupported") as refusals:
                getattr(exchange, verb)(*arguments.get(verb, ()))
            assert isinstance(refusals[0], Unsupported)
        assert not ledger()

    def test_every_request_is_sent_in_its_turn(self, exchange: Exchange) -> None:
        """A request that is sent outside a throttle escapes the order of nonces and the exchange's limits."""
        transport, inside, outside = exchange.context.transport, [0], []

        @contextmanager
        def throttle(call: str, *, signed: bool) -> Iterator[None]:  # noqa: ARG001 - a Throttle
            assert inside == [0], f"the throttle of '{call}' lies inside another"
            inside[0] = 1
            try:
                yield
            finally:
                inside[0] = 0

        class Watched(Transport):
            def __init__(self) -> None:
                """It is the other one's connections that are used."""

            def send(self, request: Request, *, timeout: float | None = None) -> Response:
                if not inside[0]:
                    outside.append(request)
                return transport.send(request, timeout=timeout)

        watched = exchange.with_context(replace(exchange.context, transport=Watched(), throttle=throttle))
        for verb, arguments in (
            ("markets", ()),
            ("rate", (self.currency, self.asset)),
            ("funds", ()),
            ("open_orders", ()),
            ("place", (self._new("buy", amount=self.amount),)),
            ("deposit_address", (self.asset,)),
        ):
            if verb in supports(type(exchange)):
                with suppress(Refused):
                    getattr(watched, verb)(*arguments)
        assert outside == []

    # --- reading ---

    def test_the_user_buys_at_the_higher_price_and_sells_at_the_lower(self, exchange: Exchange) -> None:
        _needs(exchange, "rate")
        rate = _checked(exchange.rate(self.currency, self.asset), Rate)
        assert rate.buy >= rate.sell > 0
        assert abs(datetime.now(UTC) - rate.time) < timedelta(days=366 * 20)

    def test_a_rate_of_an_unknown_market_is_refused(self, exchange: Exchange) -> None:
        _needs(exchange, "rate")
        with _refused("unknown_market", "unknown_asset"):
            exchange.rate(self.currency, "NOSUCH")

    def test_the_pair_is_among_the_markets_with_rules_that_can_be_kept(self, exchange: Exchange) -> None:
        _needs(exchange, "markets")
        markets = [_checked(market, Market) for market in exchange.markets()]
        names = [(market.currency, market.asset) for market in markets]
        assert (self.currency, self.asset) in names
        assert len(names) == len(set(names)), "a pair is listed twice"
        for market in markets:
            for rule in (market.price_step, market.amount_step, market.amount_min, market.cost_min):
                assert rule is None or rule >= 0
            assert market.amount_step != 0
            assert market.price_step != 0

    def test_funds_add_up(self, exchange: Exchange) -> None:
        _needs(exchange, "funds")
        funds = {name: _checked(line, Funds) for name, line in exchange.funds().items()}
        assert funds[self.asset]
        assert funds[self.currency]
        for name, line in funds.items():
            assert name == name.strip() != ""
            if None not in (line.total, line.available, line.held):
                assert line.total == EXACT.add(line.available or _ZERO, line.held or _ZERO), name
        told = {name: line.total for name, line in funds.items() if line.total is not None}
        assert exchange.balance() == told

    def test_the_permissions_of_the_key_are_told(self, exchange: Exchange) -> None:
        _needs(exchange, "permissions")
        assert exchange.permissions() == self.permitted

    # --- market orders ---

    def test_a_market_buy_is_executed_once_and_its_result_is_told(self, exchange: Exchange, ledger: Ledger) -> None:
        self._trade("buy", exchange, ledger)

    def test_a_market_sell_is_executed_once_and_its_result_is_told(self, exchange: Exchange, ledger: Ledger) -> None:
        self._trade("sell", exchange, ledger)

    def _trade(self, side: Side, exchange: Exchange, ledger: Ledger) -> None:
        self._needs_order(exchange, "market")
        before = self._totals(exchange)
        order = self._new(side, amount=self.amount)
        state = self._placed(exchange, order)
        assert len(ledger()) == 1
        assert state.status == "filled"
        assert state.filled == self.amount
        assert state.amount in (None, self.amount)
        self._check_result(state)
        self._check_totals(before, exchange, state)

    def test_a_buy_for_a_cost_spends_no_more_than_that(self, exchange: Exchange, ledger: Ledger) -> None:
        self._needs_order(exchange, "cost")
        before = self._totals(exchange)
        state = self._placed(exchange, self._new("buy", cost=self.cost))
        assert len(ledger()) == 1
        assert state.status == "filled"
        assert state.spent is not None
        assert _near(state.spent, self.cost, "0.001") or state.spent < self.cost
        assert state.spent > self.cost * Decimal("0.95")
        self._check_result(state)
        self._check_totals(before, exchange, state)

    def test_kinds_of_orders_that_are_not_taken_are_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        _needs(exchange, "place")
        orders = {
            "market": self._new("buy", amount=self.amount),
            "cost": self._new("buy", cost=self.cost),
            "limit": self._new("sell", amount=self.amount, price=self.far_price or Decimal(1_000_000)),
        }
        for kind in sorted(set(orders) - self.takes):
            with _refused("unsupported"):
                exchange.place(orders[kind])
        assert not ledger()

    def test_fills_tell_what_was_executed_newest_first(self, exchange: Exchange) -> None:
        _needs(exchange, "fills")
        self._needs_order(exchange, "market")
        states = [self._placed(exchange, self._new(side, amount=self.amount)) for side in ("buy", "sell")]
        self.pause()
        fills = [_checked(fill, Fill) for fill in exchange.fills(self.currency, self.asset)]
        assert [fill.time for fill in fills] == sorted((fill.time for fill in fills), reverse=True)
        assert len({fill.id for fill in fills}) == len(fills)
        for state in states:
            mine = [fill for fill in fills if fill.exchange_order_id in (None, state.exchange_order_id)]
            mine = [fill for fill in mine if fill.side == state.side]
            assert total(fill.amount for fill in mine) == state.filled
            assert {(fill.currency, fill.asset) for fill in mine} == {(self.currency, self.asset)}

    # --- limit orders ---

    def test_a_limit_order_rests_is_seen_and_can_be_canceled(self, exchange: Exchange, ledger: Ledger) -> None:
        order = self._resting(exchange)
        before = self._held(exchange)
        state = self._placed(exchange, order)
        ref = _ref(order, state)
        assert state.status == "open"
        assert len(ledger()) == 1
        self.pause()
        if before is not None:
            assert self._held(exchange) == before + self.amount
        if _has(exchange, "open_orders"):
            self._check_resting(self._open(exchange)[state.exchange_order_id], order, "open")
        if _has(exchange, "order"):
            self._check_resting(_checked(exchange.order(ref), OrderState), order, "open")
        if not _has(exchange, "cancel"):
            return
        exchange.cancel(ref)
        self.pause()
        if _has(exchange, "open_orders"):
            assert state.exchange_order_id not in self._open(exchange)
        if _has(exchange, "order"):
            self._check_resting(_checked(exchange.order(ref), OrderState), order, "canceled")
        assert self._held(exchange) == before
        with _refused("order_not_open"):
            exchange.cancel(ref)

    def test_cancel_all_leaves_no_order_open(self, exchange: Exchange) -> None:
        _needs(exchange, "cancel_all", "open_orders")
        for _ in range(2):
            self._placed(exchange, self._resting(exchange))
        self.pause()
        assert exchange.cancel_all() == 2
        self.pause()
        assert exchange.open_orders() == []
        assert exchange.cancel_all() == 0

    # --- looking up by our own id ---

    def test_an_open_order_is_found_by_our_id(self, exchange: Exchange) -> None:
        _needs(exchange, "find")
        order = self._resting(exchange)
        state = self._placed(exchange, order)
        self.pause()
        found = exchange.find(_ref(order, None))
        assert found is not None
        self._check_resting(_checked(found, OrderState), order, "open")
        assert found.exchange_order_id == state.exchange_order_id

    def test_a_finished_order_is_found_by_our_id(self, exchange: Exchange) -> None:
        _needs(exchange, "find")
        self._needs_order(exchange, "market")
        if type(exchange).order_lookup != "all":
            raise SkipTest("it finds open orders only")
        order = self._new("buy", amount=self.amount)
        state = self._placed(exchange, order)
        self.pause()
        found = exchange.find(_ref(order, None))
        assert found is not None
        assert _checked(found, OrderState).exchange_order_id == state.exchange_order_id
        assert (found.status, found.filled) == ("filled", self.amount)

    def test_an_order_that_never_came_is_not_found(self, exchange: Exchange) -> None:
        _needs(exchange, "find")
        assert exchange.find(self._unplaced()) is None

    # --- refusals: nothing is executed ---

    def test_more_than_is_there_is_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        _needs(exchange, "place", "funds")
        line = exchange.funds()[self.asset]
        there = line.available if line.available is not None else line.total
        assert there is not None
        price = None if "market" in self.takes else self._far(exchange)
        with _refused("insufficient_funds"):
            exchange.place(self._new("sell", amount=there + self.amount, price=price))
        assert not ledger()

    def test_an_unknown_market_is_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        _needs(exchange, "place")
        price = None if "market" in self.takes else Decimal(1)
        order = NewOrder("buy", self.currency, "NOSUCH", uuid.uuid4().hex, amount=self.amount, price=price)
        with _refused("unknown_market", "unknown_asset"):
            exchange.place(order)
        assert not ledger()

    def test_an_amount_with_too_many_digits_is_refused_and_not_rounded(
        self, exchange: Exchange, ledger: Ledger
    ) -> None:
        step = self._market(exchange).amount_step
        if step is None:
            raise SkipTest("it tells no step")
        price = None if "market" in self.takes else self._far(exchange)
        with _refused("amount_step", "invalid_amount") as refusals:
            exchange.place(self._new("sell", amount=self.amount + step / 10, price=price))
        nearest = refusals[0].details.get("nearest")
        assert nearest is None or Decimal(nearest) % step == 0
        assert not ledger()

    def test_an_amount_below_the_minimum_is_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        market = self._market(exchange)
        if not market.amount_min or not market.amount_step or market.amount_min < 10 * market.amount_step:
            raise SkipTest("it tells no minimum")
        price = None if "market" in self.takes else self._far(exchange)
        with _refused("amount_min", "invalid_amount"):
            exchange.place(self._new("sell", amount=market.amount_min / 10, price=price))
        assert not ledger()

    # --- deposits and withdrawals ---

    def test_there_is_an_address_to_send_the_asset_to(self, exchange: Exchange) -> None:
        _needs(exchange, "deposit_address")
        address = _checked(exchange.deposit_address(self.asset), DepositAddress)
        assert address.asset == self.asset
        assert address.address.strip() == address.address != ""
        assert address.tag != ""

    def test_an_address_for_an_unknown_asset_is_refused(self, exchange: Exchange) -> None:
        _needs(exchange, "deposit_address")
        with _refused("unknown_asset", "unsupported"):
            exchange.deposit_address("NOSUCH")

    def test_a_withdrawal_is_sent_once_and_listed(self, exchange: Exchange, ledger: Ledger) -> None:
        _needs(exchange, "withdraw")
        before = self._totals(exchange)
        asked = self._withdrawal(self.send_amount)
        made = _checked(exchange.withdraw(asked), Withdrawal)
        assert made.id
        assert (made.asset, made.amount, made.address, made.tag) == (
            asked.asset,
            asked.amount,
            asked.address,
            asked.tag,
        )
        assert made.status in ("pending", "done", "unknown")
        assert [row["kind"] for row in ledger()] == ["withdrawal"]
        self.pause()
        after = self._totals(exchange)
        if self.asset in before:
            gone = before[self.asset] - after[self.asset]
            assert self.send_amount <= gone <= self.send_amount + (made.fee or _ZERO)
        if _has(exchange, "withdrawals"):
            listed = {row.id: _checked(row, Withdrawal) for row in exchange.withdrawals(self.asset)}
            assert made.id in listed
            assert listed[made.id].asset == self.asset
            assert made.id in {row.id for row in exchange.withdrawals()}

    def test_a_withdrawal_is_found_by_our_id(self, exchange: Exchange) -> None:
        _needs(exchange, "find_withdrawal")
        asked = self._withdrawal(self.send_amount)
        made = exchange.withdraw(asked)
        self.pause()
        found = exchange.find_withdrawal(asked.client_id, *self._just_now())
        assert found is not None
        assert (_checked(found, Withdrawal).id, found.asset) == (made.id, self.asset)

    def test_a_withdrawal_that_never_came_is_not_found(self, exchange: Exchange) -> None:
        """Nor is another one taken for it."""
        _needs(exchange, "find_withdrawal")
        exchange.withdraw(self._withdrawal(self.send_amount))
        self.pause()
        since, until = (moment - timedelta(seconds=600) for moment in self._just_now())
        assert exchange.find_withdrawal(uuid.uuid4().hex, since, until) is None

    def test_a_withdrawal_of_more_than_is_there_is_refused(self, exchange: Exchange, ledger: Ledger) -> None:
        _needs(exchange, "withdraw", "funds")
        there = exchange.funds()[self.asset].total
        assert there is not None
        with _refused("insufficient_funds", "invalid_amount"):
            exchange.withdraw(self._withdrawal(there + self.send_amount))
        assert not ledger()

    def test_deposits_are_told_newest_first(self, exchange: Exchange) -> None:
        _needs(exchange, "deposits")
        rows = [_checked(row, Deposit) for row in exchange.deposits()]
        times = [row.time for row in rows if row.time is not None]
        assert times == sorted(times, reverse=True)
        assert all(row.amount > 0 for row in rows)
        assert all(row.asset == self.asset for row in exchange.deposits(self.asset))

    # --- what the steps share ---

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

    def _needs_order(self, exchange: Exchange, kind: str) -> None:
        _needs(exchange, "place")
        if kind not in self.takes:
            raise SkipTest(f"it takes no {kind} orders")

    def _far(self, exchange: Exchange) -> Decimal:
        if self.far_price is not None:
            return self.far_price
        price, step = 2 * exchange.rate(self.currency, self.asset).buy, self._market(exchange).price_step
        return price if step is None else price - price % step

    def _market(self, exchange: Exchange) -> Market:
        _needs(exchange, "place", "markets")
        wanted = (self.currency, self.asset)
        return next(market for market in exchange.markets() if (market.currency, market.asset) == wanted)

    def _resting(self, exchange: Exchange) -> NewOrder:
        self._needs_order(exchange, "limit")
        return self._new("sell", amount=self.amount, price=self._far(exchange))

    def _placed(self, exchange: Exchange, order: NewOrder) -> OrderState:
        state = _checked(exchange.place(order), OrderState)
        assert state.exchange_order_id
        assert state.side in (None, order.side)
        assert state.currency in (None, order.currency)
        assert state.asset in (None, order.asset)
        assert state.client_id in (None, order.client_id)
        return state

    def _check_result(self, state: OrderState) -> None:
        assert state.filled
        assert state.average
        assert state.spent
        assert _near(EXACT.multiply(state.average, state.filled), state.spent, "0.0001")
        if self.tells_fee:
            assert state.fee is not None
            assert state.fee >= 0
            assert state.fee_currency in (self.currency, self.asset)

    def _check_totals(self, before: Mapping[str, Decimal], exchange: Exchange, state: OrderState) -> None:
        """What is owned changed by exactly what the order tells."""
        if not before or not self.tells_fee:
            return
        self.pause()
        after = self._totals(exchange)
        sign = 1 if state.side == "buy" else -1
        changes = {self.asset: sign * (state.filled or _ZERO), self.currency: -sign * (state.spent or _ZERO)}
        changes[str(state.fee_currency)] -= state.fee or _ZERO
        assert {name: after[name] - before[name] for name in changes} == changes

    def _totals(self, exchange: Exchange) -> dict[str, Decimal]:
        return exchange.balance() if _has(exchange, "funds") else {}

    def _held(self, exchange: Exchange) -> Decimal | None:
        return exchange.funds()[self.asset].held if _has(exchange, "funds") else None

    def _open(self, exchange: Exchange) -> dict[str, OrderState]:
        return {state.exchange_order_id: _checked(state, OrderState) for state in exchange.open_orders()}

    def _check_resting(self, state: OrderState, order: NewOrder, status: str) -> None:
        assert state.status == status
        told = (state.side, state.currency, state.asset, state.amount, state.price)
        asked = (order.side, order.currency, order.asset, order.amount, order.price)
        assert all(one in (None, other) for one, other in zip(told, asked, strict=True)), (told, asked)
        assert state.filled in (None, _ZERO)
        assert state.average is None
        assert state.client_id in (None, order.client_id)

    def _withdrawal(self, amount: Decimal) -> NewWithdrawal:
        assert self.send_to, "set send_to to an address that the exchange sends to"
        return NewWithdrawal(self.asset, amount, self.send_to, uuid.uuid4().hex, tag=self.send_tag)


def _has(exchange: Exchange, verb: str) -> bool:
    return verb in supports(type(exchange))


def _needs(exchange: Exchange, *verbs: str) -> None:
    for verb in verbs:
        if not _has(exchange, verb):
            raise SkipTest(f"{type(exchange).name} has no call for '{verb}'")


def _ref(order: NewOrder, state: OrderState | None) -> OrderRef:
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
    )


def _near(one: Decimal, other: Decimal, part: str) -> bool:
    return abs(one - other) <= abs(other) * Decimal(part)


@contextmanager
def _refused(*codes: str) -> Iterator[list[Refused]]:
    """What stands inside must be refused with one of `codes`; the refusal is in the list afterwards."""
    refusals: list[Refused] = []
    try:
        yield refusals
    except Refused as refusal:
        refusals.append(refusal)
    assert refusals, "it was not refused"
    code, words = refusals[0].code, str(refusals[0])
    assert code in codes, f"refused with {code} ({words}), not with {codes}"
    assert words.strip()
    assert len(words) <= 500


def _checked(record: _Record, kind: type[_Record]) -> _Record:
    """`record`, which is of the `kind` and has the right types: finite Decimals, times with a zone, texts."""
    assert type(record) is kind, record
    for each in fields(kind):  # type: ignore[arg-type]  # every record is a dataclass
        value = getattr(record, each.name)
        where = f"{kind.__name__}.{each.name} is {value!r}"
        if value is None:
            assert "None" in str(each.type), where
        elif "Decimal" in str(each.type):
            assert type(value) is Decimal, where
            assert value.is_finite(), where
        elif "datetime" in str(each.type):
            assert value.utcoffset() == timedelta(0), where
        else:
            assert type(value) is str, where
            assert value, where
    return record
