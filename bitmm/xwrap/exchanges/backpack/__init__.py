"""Backpack: its REST API (`BackpackAPI`), and our verbs said in it (`Backpack`).

Sources: the OpenAPI 1.0 text of docs.backpack.exchange (August 2026) and the official client bpx-api-client 0.21.
Amounts are text on the wire; times come in three forms: milliseconds, microseconds (depth) and UTC text without a zone
(histories).
"""

from __future__ import annotations

from .adapter import Backpack
from .api import URL, BackpackAPI

__all__ = ["URL", "Backpack", "BackpackAPI"]
