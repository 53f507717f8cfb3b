"""The paper exchange: a ledger in the server's own data base, and real recorded prices.

It has no key and sends nothing over the network, so nothing done here can reach real money. Its one market is BTC/USD.
The prices are the minute closes of a file, one row a minute, from the start again after the last one; where the packed
file comes from stands in `recorded/README.md`.
"""

from .adapter import Paper
from .ledger import Ledger, LedgerTransaction, PaperConfig
from .prices import PACKED_PRICES, Prices, PricesError, PriceSource

__all__ = [
    "PACKED_PRICES",
    "Ledger",
    "LedgerTransaction",
    "Paper",
    "PaperConfig",
    "PriceSource",
    "Prices",
    "PricesError",
]
