"""Mt.Gox: its historic HTTP API, versions 0, 1 and 2 (`MtGoxAPI`), and the adapter (`MtGox`).

The exchange closed in February 2014. This serves replicas, archives and teaching, at an address that the administrator
sets; there is no default, because the old host names may belong to anyone tomorrow.

Sources: the Bitcoin Wiki's pages MtGox/API/HTTP, /v0 and /v1 (revisions of 2012 and 2013), the exchange's own client
(repository MtGox/api, May 2013) and documentation (repository DanBUK/mtgox-doc, August 2012), the "Unofficial
Documentation for MtGox's HTTP API v2" (March 2013), and the clients goxtool, XChange and the ruby gem of those years.
"""

from __future__ import annotations

from .adapter import MtGox
from .api import MtGoxAPI

__all__ = ["MtGox", "MtGoxAPI"]
