"""What tests do to the reconciler so that they need not wait."""

from __future__ import annotations

from bitmm.xwrap.server.reconciliation import Reconciler


def make_due(reconciler: Reconciler) -> None:
    """Let the pauses between two questions be over."""
    for times in reconciler._times._times.values():
        for row in times.values():
            row.ask_at = 0.0
