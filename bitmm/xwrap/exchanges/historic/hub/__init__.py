"""The account hub protocol of 2011 (`HubAPI`) and its adapter (`Hub`).

Source: the wiki page "API" of the repository tafa/account-hub (12 January 2011, revision 5). It is a sketch, and no
server is known to run it. What the page leaves open is our choice, marked "choice" in the code; what it marks TODO is
not supported.
"""

from __future__ import annotations

from .adapter import Hub
from .api import HubAPI
from .overview import Overview

__all__ = ["Hub", "HubAPI", "Overview"]
