"""A seeded simulation: clients, server, exchange and network in one process on a virtual clock; see `__main__`."""
