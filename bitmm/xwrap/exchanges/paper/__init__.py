"""The paper exchange: a book in the server's own data base, at real recorded prices.

It has no key and no way to the network, so nothing done here can reach real money. Its one market is BTC/USD. The
prices are the minute closes of a file, one row a minute, for ever; the packed file's provenance stands in
`recorded/README.md`.
"""

from .adapter import Paper
from .ledger import Ledger, LedgerTransaction, PaperConfig
from .prices import PACKED_PRICES, Prices, PricesError

__all__ = ["PACKED_PRICES", "Ledger", "LedgerTransaction", "Paper", "PaperConfig", "Prices", "PricesError"]
