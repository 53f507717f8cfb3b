"""Kraken's rows of orders, executions, balances and transfers, and what they are in ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar

from ...money import EXACT, mean, parse_decimal, parse_unsigned, total
from ..http import PARSING_ERRORS
from ..models import Deposit, Fill, Funds, NewOrder, OrderRef, OrderState, Side, Status, Withdrawal
from ..orders import check_same_order
from ..parsing import optional, optional_amount, readable_rows, required_text, time_from_seconds
from .names import Pairs, balance_name

_T = TypeVar("_T")

#: Fee credits; no money.
CREDITS = "KFEE"
_ORDER_STATUS: dict[str, Status] = {"pending": "open", "open": "open", "closed": "filled"}
_OVER = {"canceled", "expired"}
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
#: Where an order's description has its limit price; the other types have none, or one that follows the market.
_LIMIT_PRICE = {
    "limit": "price",
    "iceberg": "price",
    "stop-loss-limit": "price2",
    "take-profit-limit": "price2",
}
#: The types that a `stop` of ours has.
_STOPS = {"stop-loss", "stop-loss-limit"}
#: "Add Order", price and price2: a distance from another price ("+5", "-1.0000%", "#10"), and no price.
_DISTANCE = re.compile(r"[-+#].*|.*%", re.ASCII)
_TRANSFER_STATUS: dict[str, Literal["pending", "done", "failed"]] = {
    **dict.fromkeys(("Initial", "Pending", "Settled"), "pending"),
    "Success": "done",
    "Failure": "failed",
}
#: The `status` of a transfer ("Account Transfer") -> ours.
TRANSFER_STATUSES: dict[str, Literal["pending", "done"]] = {"pending": "pending", "complete": "done"}
#: The suffixes of lines that earn, and that no order spends.
_EARNING = {"S", "M", "P", "B"}
#: The values of `status-prop` of what is over whatever its `status` says: it was canceled, or Kraken sends it back.
_TURNED_BACK = {"canceled", "return"}


def only_entry(rows: Any) -> Any:
    """Return the single entry of a list or dict: Kraken answers by another name than it was asked for."""
    [row] = rows.values() if isinstance(rows, dict) else rows
    return row


def shown_rows(result: Any, key: str) -> Any:
    """Return the rows under `key` in the result of a list that is shown only: an empty one may be left out."""
    if result in (None, [], {}) or (key not in result and count_of(result) == 0):
        return {}
    return {} if result[key] in (None, []) else result[key]


def count_of(result: Mapping[str, Any]) -> int | None:
    """Return how many rows the whole list has; None when it does not say ("Get Closed Orders", without_count)."""
    count = result.get("count")
    return None if count is None else int(parse_decimal(count))


def funds_from_rows(rows: Mapping[str, Any], assets: Mapping[str, str]) -> dict[str, Funds]:
    """Return the lines of BalanceEx by their common names.

    An odd row makes its own line unknown, and no other. Odd holds hide what of it is available, and not what is owned.

    A line `.F` (Kraken Rewards) is a part of its asset's: an order of the asset spends it too, and holds are booked on
    the plain line alone. Lines with another suffix are their own, and no order spends them: `.S` staked, `.M` opt-in
    rewards, `.P` staked on a parachain and `.B` other yields are `earning`, `.HOLD` is held ("Get Account Balance").
    """
    names = {key: balance_name(key.removesuffix(".F"), assets) for key in rows if key != CREDITS}
    read = dict(readable_rows("Kraken", names, lambda key: (key, _balance_from_row(rows[key]))))
    funds = {}
    for name in dict.fromkeys(names.values()):
        lines = [read.get(key) for key, other in names.items() if other == name]
        if None in lines:
            funds[name] = Funds(None, None, None)
        else:
            funds[name] = _sum_of_balances(list(filter(None, lines)), name.partition(".")[2])
    return funds


@dataclass(frozen=True, slots=True)
class _Balance:
    """What is owned, which may be below zero, the credit that is left, and what is held; None: not understood."""

    owned: Decimal
    credit: Decimal | None = None
    held: Decimal | None = None


def _balance_from_row(row: Mapping[str, Any]) -> _Balance:
    owned = parse_decimal(row["balance"])
    with suppress(*PARSING_ERRORS):
        credit, used, held = (
            # A hold may be a rounding below zero.
            max(parse_decimal(row.get(name) or 0), Decimal(0))
            for name in ("credit", "credit_used", "hold_trade")
        )
        return _Balance(owned, EXACT.subtract(credit, used), held)
    return _Balance(owned)


def _sum_of_balances(lines: Sequence[_Balance], suffix: str) -> Funds:
    owned = total(line.owned for line in lines)
    if suffix in _EARNING:
        return Funds(owned, Decimal(0), Decimal(0), owned)
    if suffix == "HOLD":
        return Funds(owned, Decimal(0), owned, Decimal(0))
    credits = [line.credit for line in lines if line.credit is not None]
    holds = [line.held for line in lines if line.held is not None]
    if len(holds) < len(lines):
        return Funds(owned, None, None, Decimal(0))
    held = total(holds)
    # By "Get Extended Balance". More may be held than there is: an order that Kraken may cancel later.
    return Funds(owned, max(EXACT.subtract(EXACT.add(owned, total(credits)), held), Decimal(0)), held, Decimal(0))


def check_timer(result: Mapping[str, Any], seconds: int) -> None:
    """Raise ValueError unless the answer to CancelAllOrdersAfter is that of a timer of so many seconds; 0: it is off.

    Its times are of whole seconds, rounded up ("Cancel All Orders After X").
    """
    if seconds == 0:
        if result["triggerTime"] != "0":
            raise ValueError("the timer is not off")
        return
    now, at = (datetime.fromisoformat(required_text(result[name])) for name in ("currentTime", "triggerTime"))
    if abs((at - now).total_seconds() - seconds) > 1:
        raise ValueError("the timer is of another time")


def has_no_nonce_window(info: Mapping[str, Any]) -> bool:
    """Return whether the key of this answer to GetApiKeyInfo takes rising nonces only."""
    return parse_decimal(info["nonce_window"]) == 0


def new_order_form(order: NewOrder, pair: str) -> dict[str, object]:
    """Return the form of an AddOrder in the market with this key ("Add Order")."""
    # With `fciq` the fee's currency is known; the default differs by side. With `viqc` the volume counts the currency.
    flags = ("fciq", *(["viqc"] if order.cost is not None else []), *(["post"] if order.post_only else []))
    if order.stop is None:
        kind: dict[str, object] = {"ordertype": "market" if order.price is None else "limit", "price": order.price}
    else:
        # It begins when the last price reaches `price` "from an unfavourable direction": falling for a sell, rising for
        # a buy (docs.kraken.com, "Add Order" of WebSocket v2, which has the same types in more words).
        name = "stop-loss" if order.price is None else "stop-loss-limit"
        kind = {"ordertype": name, "price": order.stop, "price2": order.price}
    return {
        "pair": pair,
        "type": order.side,
        **kind,
        "volume": order.amount if order.cost is None else order.cost,
        "oflags": ",".join(flags),
        "timeinforce": order.time_in_force,
        # In seconds since 1970.
        "expiretm": None if order.expires is None else int(order.expires.timestamp()),
        "cl_ord_id": order.client_id,
    }


def new_orders_form(orders: Sequence[NewOrder], pair: str) -> dict[str, object]:
    """Return the form of an AddOrderBatch in the market with this key ("Add Order Batch"), which names it once."""
    forms = [new_order_form(order, pair) for order in orders]
    return {"pair": pair, "orders": [{name: form[name] for name in form if name != "pair"} for form in forms]}


def order_from_row(txid: str, row: Mapping[str, Any], pairs: Pairs, ref: OrderRef | None = None) -> OrderState:
    """Return the order of an object of QueryOrders, OpenOrders or ClosedOrders; `descr.pair` is the altname.

    The market of a pair that Kraken does not list any more is that of `ref`. Raises ValueError when it is not the order
    of `ref`.
    """
    description, flags = row["descr"], (row.get("oflags") or "").split(",")
    pair = pairs.of_name(description["pair"])
    names = ref if pair is None else pair.market
    currency, asset = (None, None) if names is None else (names.currency, names.asset)
    by_cost = "viqc" in flags
    filled, spent = _executed_by_cost(row) if by_cost else _executed(row)
    average = optional_amount(row.get("price")) or None
    if filled is not None and spent is not None:
        average = mean(spent, filled)
    if (status := _ORDER_STATUS.get(row["status"])) is None:
        if row["status"] not in _OVER:
            raise ValueError(f"status {row['status']!r}")
        status = "partly_filled" if optional_amount(row.get("vol_exec")) else "canceled"
    state = OrderState(
        exchange_order_id=txid,
        status=status,
        side=_SIDES[description["type"]],
        currency=currency,
        asset=asset,
        # With `viqc` the volume counts the currency.
        amount=None if by_cost else optional_amount(row.get("vol")),
        price=_limit_price(description),
        filled=filled,
        average=average,
        spent=spent,
        fee=optional_amount(row.get("fee")),
        # "Get Orders Info": whatever `oflags` prefers.
        fee_currency=currency,
        client_id=client_id_from_row(row),
        created=optional(time_from_seconds, row.get("opentm")),
        reason=None if status == "open" else _reason(row),
        stop=_price_of(description, "price") if description.get("ordertype") in _STOPS else None,
    )
    if ref is not None:
        check_same_order(state, ref)
        if ref.stop is not None and description["ordertype"] not in _STOPS:
            raise ValueError("an order without the stop that was asked for")
    return state


def _executed(row: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Return how much of the asset was filled, and for how much of the currency."""
    return optional_amount(row.get("vol_exec")), optional_amount(row.get("cost"))


def _executed_by_cost(row: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Return the same of an order with `viqc`: its `vol_exec` counts the currency; then the amount is not told.

    Kraken's documents and clients do not agree whether it does, so it is compared with the cost: in the currency it is
    the cost but for roundings, in the asset it is as much at the mean price.
    """
    executed, spent = _executed(row)
    price = optional_amount(row.get("price"))
    if not executed or spent is None:
        return executed, spent
    if not price:
        return None, spent
    off_as_currency = abs(EXACT.subtract(executed, spent))
    off_as_asset = abs(EXACT.subtract(EXACT.multiply(executed, price), spent))
    return executed if off_as_asset <= off_as_currency else None, spent


def _limit_price(description: Mapping[str, Any]) -> Decimal | None:
    """Return the limit of an order that has one, also of one that waits for its trigger."""
    return _price_of(description, _LIMIT_PRICE.get(description.get("ordertype", ""), ""))


def _price_of(description: Mapping[str, Any], field: str) -> Decimal | None:
    """Return the price in a field of an order's description; None for a distance from another price."""
    price = description.get(field)
    if isinstance(price, str) and _DISTANCE.fullmatch(price):
        return None
    return optional_amount(price) or None


def _reason(row: Mapping[str, Any]) -> str | None:
    """Return Kraken's words for why an order is over ("User requested"), if it has any."""
    return _optional_text(row.get("reason")) or ("expired" if row["status"] == "expired" else None)


def client_id_from_row(row: Mapping[str, Any]) -> str | None:
    """Return our client id: Kraken takes a UUID with and without dashes, and ours has none.

    Raises ValueError for what is no client id.
    """
    if row.get("cl_ord_id") in (None, ""):
        return None
    cl_ord_id = required_text(row["cl_ord_id"])
    return cl_ord_id.replace("-", "").lower() if len(cl_ord_id) == 36 else cl_ord_id


def fill_from_row(id: str, row: Mapping[str, Any], currency: str, asset: str) -> Fill:
    """Return the fill of an object of TradesHistory. Its fee counts the currency ("Get Trades History")."""
    return Fill(
        id=id,
        exchange_order_id=_optional_text(row.get("ordertxid")),
        side=_SIDES[row["type"]],
        currency=currency,
        asset=asset,
        amount=parse_unsigned(row["vol"]),
        price=parse_unsigned(row["price"]),
        fee=optional_amount(row.get("fee")),
        fee_currency=currency,
        time=time_from_seconds(row["time"]),
    )


def tag_from_row(row: Mapping[str, Any]) -> str | None:
    """Return the tag of an address: seen as `tag` (XRP) and as `memo` (EOS and its like), as text and as a number."""
    return _optional_text(row.get("tag")) or _optional_text(row.get("memo"))


def deposit_from_row(row: Mapping[str, Any], assets: Mapping[str, str]) -> Deposit:
    """Return a row of DepositStatus."""
    return Deposit(
        id=required_text(row["refid"]),
        asset=balance_name(row["asset"], assets),
        amount=parse_unsigned(row["amount"]),
        status="failed" if row.get("status-prop") in _TURNED_BACK else _TRANSFER_STATUS.get(row["status"], "pending"),
        address=_optional_text(row.get("info")),
        network=_optional_text(row.get("method")),
        txid=_optional_text(row.get("txid")),
        time=optional(time_from_seconds, row.get("time")),
    )


def withdrawal_from_row(row: Mapping[str, Any], assets: Mapping[str, str]) -> Withdrawal:
    """Return a row of WithdrawStatus; of an odd one what is known, since it may be a send of ours."""
    is_over = row.get("status-prop") in _TURNED_BACK
    return Withdrawal(
        id=required_text(row["refid"]),
        asset=balance_name(row["asset"], assets),
        amount=_known(optional_amount, row.get("amount")),
        status="failed" if is_over else _TRANSFER_STATUS.get(row.get("status", ""), "unknown"),
        address=_optional_text(row.get("info")),
        network=_optional_text(row.get("method")),
        fee=_known(optional_amount, row.get("fee")),
        txid=_optional_text(row.get("txid")),
        created=_known(time_from_seconds, row.get("time")),
    )


def _optional_text(value: object) -> str | None:
    """Return a text, or a whole number as one; None for what is neither, and for a blank text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def _known(read: Callable[[object], _T | None], value: object) -> _T | None:
    """Return what `read` makes of a value; None when it cannot be understood."""
    with suppress(*PARSING_ERRORS):
        return read(value)
    return None
