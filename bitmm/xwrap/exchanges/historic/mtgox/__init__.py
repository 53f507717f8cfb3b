"""Mt.Gox: its HTTP API (`MtGoxAPI`) and the adapter (`MtGox`)."""

from __future__ import annotations

from .adapter import MtGox, MtGoxAPI

__all__ = ["MtGox", "MtGoxAPI"]
