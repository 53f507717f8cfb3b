"""A line over time, as the points of an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from ...money import plain
from ..db.worth import Worth

__all__ = ["HEIGHT", "WIDTH", "Chart", "draw"]

WIDTH, HEIGHT = 640, 160
#: The line keeps so far from the edges.
_MARGIN = 6


class Chart(NamedTuple):
    """A line through the days that are complete. `gaps`: the points of the others, which are less than they were."""

    line: str
    last: tuple[str, str]
    gaps: list[tuple[str, str]]
    highest: str
    lowest: str
    first_day: str
    last_day: str


def draw(days: Sequence[Worth]) -> Chart | None:
    """Return the chart of these days, the oldest first; None where fewer than two of them are complete."""
    complete = [day for day in days if day.complete]
    if len(complete) < 2:
        return None
    low, high = min(day.total for day in days), max(day.total for day in days)
    begin, end = (date.fromisoformat(days[index].day).toordinal() for index in (0, -1))

    def place(day: Worth) -> tuple[str, str]:
        across = Decimal(date.fromisoformat(day.day).toordinal() - begin) / (end - begin)
        up = (day.total - low) / (high - low) if high > low else Decimal("0.5")
        x = _MARGIN + across * (WIDTH - 2 * _MARGIN)
        y = HEIGHT - _MARGIN - up * (HEIGHT - 2 * _MARGIN)
        return f"{x:.1f}", f"{y:.1f}"

    return Chart(
        line=" ".join(",".join(place(day)) for day in complete),
        last=place(complete[-1]),
        gaps=[place(day) for day in days if not day.complete],
        highest=plain(high),
        lowest=plain(low),
        first_day=days[0].day,
        last_day=days[-1].day,
    )
