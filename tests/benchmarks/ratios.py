"""Ratios of what was measured in the same rounds: on a busy machine nothing else means anything."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Ratio", "ratio_of"]


class Ratio(NamedTuple):
    """The median of the ratios of the rounds, and their quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio_of(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Return the ratio of two series of figures, of which each pair was measured in one round."""
    ratios = [one / other for one, other in zip(above, below, strict=True) if other]
    if len(ratios) == 1:
        return Ratio(ratios[0], ratios[0], ratios[0])
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, low, high)
