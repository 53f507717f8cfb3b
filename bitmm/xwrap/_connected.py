"""What an XWrap and a Backend have in common: they hold connections to a server, which can be closed."""

from __future__ import annotations

from copy import deepcopy
from typing import Self

from ._api import ServerAPI

__all__ = ["Connected"]


class Connected:
    """What asks a server."""

    _api: ServerAPI

    def close(self) -> None:
        """Close the connections, those of an XWrap and its Backends at once; a later call opens new ones."""
        self._api.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __copy__(self) -> Self:
        # A copy makes connections of its own.
        return deepcopy(self)
