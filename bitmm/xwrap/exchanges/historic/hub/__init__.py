"""The account hub protocol of 2011 (`HubAPI`) and its adapter (`Hub`)."""

from __future__ import annotations

from .adapter import Hub, HubAPI, Overview

__all__ = ["Hub", "HubAPI", "Overview"]
