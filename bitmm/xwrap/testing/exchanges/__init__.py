"""Local exchanges, true to their protocols: they check every signature and keep a ledger of what was executed.

`venue.py` has what they share, and the modules `EXCHANGES` one protocol each: its class is `VENUE` there.
"""

__all__ = ["EXCHANGES"]

#: The modules of the local exchanges, which are also their names on the command line.
EXCHANGES = ("backpack", "bitstamp", "hub", "kraken", "mtgox")
