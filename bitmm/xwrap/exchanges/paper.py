"""The paper exchange: a book in the server's own data base, at real recorded prices.

It has no key and no way to the network, so nothing done here can reach real money. Its one market is BTC/USD. The
prices are the minute closes of a file, one row a minute, for ever; the packed file's provenance stands in
`prices/README.md`.
"""

from __future__ import annotations

import csv
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from ..money import EXACT, ROUNDED, exact, plain
from .base import (
    Access,
    DepositAddress,
    Exchange,
    Funds,
    Market,
    NewOrder,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Rate,
    Refused,
    Side,
    Withdrawal,
)

CURRENCY, ASSET = "USD", "BTC"
#: Half the distance between bid and ask, as a part of the price.
HALF_SPREAD = Decimal("0.0002")
FEE = Decimal("0.0026")
CENT, SATOSHI = Decimal("0.01"), Decimal("0.00000001")
PACKED_PRICES = Path(__file__).with_name("prices") / "btcusd.csv"


class PricesError(Exception):
    """A price file that cannot be used, in one line."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Closing prices, one a minute. `first` is the minute (since 1970) of the first one."""

    first: int
    closes: tuple[Decimal, ...]

    @classmethod
    @lru_cache
    def load(cls, path: Path = PACKED_PRICES) -> Prices:
        """The prices of a CSV file with the columns `timestamp` (Unix seconds) and `close`. Raises PricesError."""
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = [(int(row["timestamp"]), exact(row["close"])) for row in csv.DictReader(file)]
        except OSError as error:
            raise PricesError(f"the price file {path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            rows = []
        if not rows or any(close <= 0 for _, close in rows):
            raise PricesError(
                f"the price file {path} needs the columns timestamp (Unix seconds) and close (a price) in every row"
            )
        return cls(rows[0][0] // 60, tuple(close for _, close in rows))

    def at(self, moment: float) -> Decimal:
        """The close that is played at `moment` (Unix seconds)."""
        return self.closes[(int(moment // 60) - self.first) % len(self.closes)]


class Page(Protocol):
    """A registration's page of the book, open for writing."""

    balances: dict[str, Decimal]

    def enter(self, kind: str, reference: str | None, currency: str, amount: Decimal) -> None: ...
    def add_order(self, **values: str) -> int: ...
    def add_send(self, **values: str) -> int: ...


class Book(Protocol):
    """Where a registration's balances and entries are kept; the server's store has it."""

    def balances(self) -> dict[str, Decimal]: ...
    def page(self) -> AbstractContextManager[Page]: ...
    def order(self, client_id: str) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class Ground:
    """What the paper exchange stands on: its prices, what a new book opens with, where the books are kept, and the
    time.
    """

    prices: Prices
    opening: Mapping[str, Decimal]
    book: Callable[[int], Book]
    clock: Callable[[], float] = time.time


class Paper(Exchange):
    """Market orders against the recorded price; fee 0.26 % in USD, every rounding against the user."""

    id = "paper"
    name = "Paper"
    description = "An exchange without real money, at recorded BTC/USD prices: for trying, teaching and tests"
    status = "paper"
    finds = "all"

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        if access.paper is None:
            raise ValueError("the paper exchange needs a ground to stand on")
        self._ground = access.paper
        self._book = access.paper.book(access.registration)

    def rate(self, currency: str, asset: str) -> Rate:
        _traded(currency, asset)
        moment = self._ground.clock()
        close = self._ground.prices.at(moment)
        spread = EXACT.multiply(close, HALF_SPREAD)
        return Rate(
            buy=_cents(EXACT.add(close, spread), ROUND_CEILING),
            sell=_cents(EXACT.subtract(close, spread), ROUND_FLOOR),
            time=datetime.fromtimestamp(moment, UTC),
        )

    def markets(self) -> list[Market]:
        return [Market(CURRENCY, ASSET, amount_step=SATOSHI, amount_min=SATOSHI)]

    def funds(self) -> dict[str, Funds]:
        balances = self._book.balances() or self._opening()
        return {name: Funds(total=total, available=total, held=Decimal(0)) for name, total in balances.items()}

    def place(self, order: NewOrder) -> OrderState:
        if order.price is not None or order.amount is None:
            raise Refused("the paper exchange takes market orders for an amount, no others", code="unsupported")
        rate = self.rate(order.currency, order.asset)
        _whole(order.amount, SATOSHI)
        price, rounding = (rate.buy, ROUND_CEILING) if order.side == "buy" else (rate.sell, ROUND_FLOOR)
        value = EXACT.multiply(order.amount, price)
        spent, fee = _cents(value, rounding), _cents(EXACT.multiply(value, FEE), ROUND_CEILING)
        with self._page() as page:
            number = page.add_order(
                client_id=order.client_id,
                side=order.side,
                currency=order.currency,
                asset=order.asset,
                amount=plain(order.amount),
                average=plain(price),
                spent=plain(spent),
                fee=plain(fee),
            )
            reference = f"order {number}"
            if order.side == "buy":
                _afford(page, order.currency, EXACT.add(spent, fee))
                page.enter("buy", reference, order.currency, spent.copy_negate())
                page.enter("buy", reference, order.asset, order.amount)
            else:
                _afford(page, order.asset, order.amount)
                page.enter("sell", reference, order.asset, order.amount.copy_negate())
                page.enter("sell", reference, order.currency, spent)
                _afford(page, order.currency, fee)
            page.enter("fee", reference, order.currency, fee.copy_negate())
        return OrderState(
            exchange_order_id=str(number),
            status="filled",
            side=order.side,
            currency=order.currency,
            asset=order.asset,
            amount=order.amount,
            filled=order.amount,
            average=price,
            spent=spent,
            fee=fee,
            fee_currency=order.currency,
            client_id=order.client_id,
        )

    def find(self, ref: OrderRef) -> OrderState | None:
        row = self._book.order(ref.client_id)
        return None if row is None else _state(row)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        if withdrawal.tag or withdrawal.network:
            raise Refused("the paper exchange knows no tags and no networks", code="unsupported")
        _whole(withdrawal.amount, SATOSHI)
        with self._page() as page:
            if withdrawal.asset not in page.balances:
                known = ", ".join(sorted(page.balances))
                raise Refused(
                    f"there is no '{withdrawal.asset}' here; this book has {known}",
                    code="unknown_asset",
                    details={"field": "asset"},
                )
            number = page.add_send(
                client_id=withdrawal.client_id,
                asset=withdrawal.asset,
                amount=plain(withdrawal.amount),
                address=withdrawal.address,
            )
            _afford(page, withdrawal.asset, withdrawal.amount)
            page.enter("send", f"send {number}", withdrawal.asset, withdrawal.amount.copy_negate())
        return Withdrawal(
            id=str(number),
            asset=withdrawal.asset,
            amount=withdrawal.amount,
            status="done",
            address=withdrawal.address,
            fee=Decimal(0),
        )

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        if asset != ASSET or network:
            raise Refused(
                f"the paper exchange has addresses for {ASSET} only", code="unknown_asset", details={"field": "asset"}
            )
        program = hashlib.sha256(f"paper registration {self.access.registration}".encode()).digest()[:20]
        return DepositAddress(asset, _testnet_address(program))

    def permissions(self) -> frozenset[str]:
        return frozenset({"read", "trade", "send"})

    def _opening(self) -> dict[str, Decimal]:
        return {CURRENCY: Decimal(0), ASSET: Decimal(0), **self._ground.opening}

    @contextmanager
    def _page(self) -> Iterator[Page]:
        """The page for writing; the first time it opens with the starting funds."""
        with self._book.page() as page:
            if not page.balances:
                for name, amount in self._opening().items():
                    page.enter("opening", None, name, amount)
            yield page


def _traded(currency: str, asset: str) -> None:
    field = "asset" if currency == CURRENCY else "currency"
    if (currency, asset) != (CURRENCY, ASSET):
        raise Refused(
            f"the paper exchange trades {ASSET} for {CURRENCY}, not '{asset}' for '{currency}'",
            code="unknown_market",
            details={"field": field},
        )


def _whole(amount: Decimal, step: Decimal) -> None:
    """Nothing is rounded unasked: an amount with too many digits is refused."""
    if amount <= 0:
        raise Refused("the amount must be more than zero", code="invalid_amount", details={"field": "amount"})
    allowed = amount.quantize(step, ROUND_FLOOR, ROUNDED)
    if allowed != amount:
        raise Refused(
            f"the amount may have 8 decimals at most; the nearest allowed is {plain(allowed)}",
            code="amount_step",
            details={"field": "amount", "nearest": plain(allowed)},
        )


def _afford(page: Page, currency: str, amount: Decimal) -> None:
    available = page.balances.get(currency, Decimal(0))
    if available < amount:
        raise Refused(
            f"not enough {currency}: {plain(amount)} needed, {plain(available)} available", code="insufficient_funds"
        )


def _cents(amount: Decimal, rounding: str) -> Decimal:
    return amount.quantize(CENT, rounding, ROUNDED)


def _state(row: Mapping[str, Any]) -> OrderState:
    side: Side = row["side"]
    amount = exact(row["amount"])
    return OrderState(
        exchange_order_id=str(row["id"]),
        status="filled",
        side=side,
        currency=row["currency"],
        asset=row["asset"],
        amount=amount,
        filled=amount,
        average=exact(row["average"]),
        spent=exact(row["spent"]),
        fee=exact(row["fee"]),
        fee_currency=row["currency"],
        client_id=row["client_id"],
        created=datetime.fromisoformat(row["created"]),
    )


def _testnet_address(program: bytes) -> str:
    """A version 0 witness address of the test network for a 20-byte program (BIP 173, sections "Bech32" and "Segwit
    address format").
    """
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    bits = int.from_bytes(program, "big")
    data = [0] + [(bits >> shift) & 31 for shift in range(155, -1, -5)]
    expanded_prefix = [ord(letter) >> 5 for letter in "tb"] + [0] + [ord(letter) & 31 for letter in "tb"]
    checksum = _bech32_polymod([*expanded_prefix, *data, 0, 0, 0, 0, 0, 0]) ^ 1
    data += [(checksum >> shift) & 31 for shift in range(25, -1, -5)]
    return "tb1" + "".join(alphabet[value] for value in data)


def _bech32_polymod(values: list[int]) -> int:
    generator = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, factor in enumerate(generator):
            checksum ^= factor if top >> bit & 1 else 0
    return checksum
