"""Amendments at Kraken, which keeps the order, its ids and, where it can, its place in the order book.

docs.kraken.com, "Amend Order", "Get Order Amends" and the guide "Spot Atomic Amends", read 2026-11-27.
"""

from __future__ import annotations

from dataclasses import replace

from ...money import parse_decimal
from ..http import parsing_errors
from ..models import NewOrder, OrderRef, OrderState
from ..orders import accepted_order, cancel_errors
from ..parsing import required_text
from .submissions import KrakenSubmissions

__all__ = ["KrakenAmendments"]


class KrakenAmendments(KrakenSubmissions):
    """The verbs about amendments."""

    def amend(self, ref: OrderRef, order: NewOrder) -> OrderState:
        """Amend with an AmendOrder. `order_qty` counts what was filled, too: less than that cancels the rest."""
        txid = ref.exchange_order_id or ""
        # `post_only` is about the new price alone; without it a price that takes is executed.
        form = {
            "txid": txid,
            "order_qty": order.amount,
            "limit_price": order.price,
            "post_only": order.post_only or None,
        }
        with cancel_errors():
            result = self._execute("AmendOrder", form)
        with parsing_errors(self.name, mutates=True):
            required_text(result["amend_id"])
        return replace(accepted_order(order, txid), client_id=ref.client_id)

    def find_amendment(self, ref: OrderRef) -> OrderState | None:
        """Look into OrderAmends, which lists them oldest first; those of the type "user" were asked for."""
        result = self.api.private("OrderAmends", {"order_id": ref.exchange_order_id})
        with parsing_errors(self.name):
            asked_for = [row for row in result["amends"] if row["amend_type"] == "user"]
            if not asked_for:
                return None
            last = parse_decimal(asked_for[-1]["order_qty"]), parse_decimal(asked_for[-1]["limit_price"])
        return self.order(ref) if last == (ref.amount, ref.price) else None
