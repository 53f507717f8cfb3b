"""Exchanges and protocols of the past, for replicas, archives and teaching; the administrator sets their address."""
