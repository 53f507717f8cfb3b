"""The former place of `bitmm.xwrap.testing.exchange_contract`; importing from here keeps working."""

from ..testing.exchange_contract import ExchangeContract, Ledger

__all__ = ["ExchangeContract", "Ledger"]
