"""Kraken: its spot REST API (`KrakenAPI`), and our verbs said in it (`Kraken`).

Sources: docs.kraken.com, the pages "Spot REST Authentication", "Spot REST Introduction", "Spot REST Rate Limits",
"Error messages", "Spot Client Order Identifiers", "API keys", "Add Order", "Get Extended Balance", "Get API Key Info"
and "Withdraw Funds"; what they leave open was seen in client libraries and recorded answers.
"""

from __future__ import annotations

from .adapter import Kraken
from .api import URL, KrakenAPI

__all__ = ["URL", "Kraken", "KrakenAPI"]
