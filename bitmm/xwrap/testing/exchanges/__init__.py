"""Local exchanges, true to their protocols: they check every signature and keep a ledger of what was executed."""
