"""Shipped for the tests of users: a pytest plugin for bots, the exchange contract, and local exchanges.

`plugin` has the fixtures, which pytest finds by itself where the extra `testing` is installed: `xwrap_server`, a real
server in the same process; `backend`, `paper` and `faults`, a Backend on paper, its price and clock, and what goes
wrong; `kraken_exchange` and the like. The README beside this file shows a bot and its tests. For the annotations of a
test: `faults.Faults`, `paper.PaperControl`, `servers.XWrapServer`, `local_exchanges.LocalExchange`.

`exchange_contract.ExchangeContract` is a test class to inherit for an exchange of your own. `exchanges` has a local
Kraken, Bitstamp and others: `python -m bitmm.xwrap.testing.exchanges kraken --port 8001`.
"""
