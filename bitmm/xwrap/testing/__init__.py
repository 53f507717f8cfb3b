"""For tests of one's own: the contract of an exchange, and local exchanges that are true to their protocols."""
