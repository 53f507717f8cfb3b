"""Bitstamp: its REST API v2 (`BitstampAPI`), and our verbs said in it (`Bitstamp`).

Sources: Bitstamp's API documentation (OpenAPI text, changelog up to 2026-02-16), and what client libraries saw on the
wire. Numbers come as text in most answers and as JSON numbers in some (cancel, crypto-transactions); both are read
exactly.
"""

from __future__ import annotations

from .adapter import Bitstamp
from .api import URL, BitstampAPI

__all__ = ["URL", "Bitstamp", "BitstampAPI"]
