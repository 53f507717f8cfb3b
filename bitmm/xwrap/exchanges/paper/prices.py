"""Where the prices of the paper exchange come from: a protocol, and the recorded prices that it replays."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from ...money import exact
from .matching import Quote, quote_around

__all__ = ["PACKED_PRICES", "PriceSource", "Prices", "PricesError"]

#: The price file of the package.
PACKED_PRICES = Path(__file__).with_name("recorded") / "btcusd.csv"


class PricesError(Exception):
    """A price file cannot be used; the words are one line."""


class PriceSource(Protocol):
    """What has a price for every minute, counted since 1970."""

    @property
    def period(self) -> int:
        """Return after how many minutes each price that there is has been looked at."""
        ...

    def quote(self, minute: int) -> Quote:
        """Return what a unit costs and brings in this minute."""
        ...

    def between(self, first: int, end: int) -> tuple[Decimal, ...]:
        """Return the closing prices of the minutes from `first` to before `end`."""
        ...


@dataclass(frozen=True, slots=True)
class Prices:
    """Closing prices, one a minute, again and again. `first`: the minute (since 1970) of the first one."""

    first: int
    closes: tuple[Decimal, ...]

    @classmethod
    def load(cls, path: Path = PACKED_PRICES) -> Prices:
        """Return the prices of a CSV file with the columns `timestamp` (Unix time) and `close`. Raises PricesError."""
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

    @property
    def period(self) -> int:
        """Return after how many minutes the prices begin again."""
        return len(self.closes)

    def quote(self, minute: int) -> Quote:
        """Return the quote around the close that is replayed in this minute."""
        return quote_around(self.at(minute * 60))

    def at(self, seconds: float) -> Decimal:
        """Return the close that is replayed at `seconds` (Unix time)."""
        return self.closes[(int(seconds // 60) - self.first) % len(self.closes)]

    def between(self, first: int, end: int) -> tuple[Decimal, ...]:
        """Return the closes that are replayed in the minutes (since 1970) from `first` to before `end`."""
        start = (first - self.first) % len(self.closes)
        found = self.closes[start : start + end - first]
        missing = end - first - len(found)
        return found + (self.closes * -(-missing // len(self.closes)))[:missing]
