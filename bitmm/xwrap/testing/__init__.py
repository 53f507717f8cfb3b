"""Shipped for the tests of users: the exchange contract, and local exchanges that are true to their protocols.

`exchange_contract.ExchangeContract` is a test class to inherit for an exchange of your own. `exchanges` has a local
Kraken, Bitstamp and others, for the tests of a bot: `python -m bitmm.xwrap.testing.exchanges kraken --port 8001`.
"""
