"""The paper exchange: a ledger in the server's own data base, and real prices, of a recorded day or of now.

It has no key, so nothing done here can reach real money. `Paper` sends nothing over the network. Its one market is
BTC/USD, and its prices are the minute closes of a file, one row a minute, from the start again after the last one;
where the packed file comes from stands in `recorded/README.md`. `LivePaper` trades at the prices of another exchange.
"""

from .adapter import PaperExchange
from .ledger import Balance, Ledger, LedgerTransaction, PaperConfig
from .live_market_data import LivePaper, live_paper
from .live_prices import LivePrices
from .market_data import Paper
from .prices import PACKED_PRICES, Prices, PricesError, PriceSource

__all__ = [
    "PACKED_PRICES",
    "Balance",
    "Ledger",
    "LedgerTransaction",
    "LivePaper",
    "LivePrices",
    "Paper",
    "PaperConfig",
    "PaperExchange",
    "PriceSource",
    "Prices",
    "PricesError",
    "live_paper",
]
