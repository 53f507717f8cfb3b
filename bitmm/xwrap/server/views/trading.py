"""What is done with one registration: look, buy, sell, send, receive."""

from __future__ import annotations

from ...exchanges.base import Exchange, Side
from ...money import plain
from ..desk import Answer
from ..house import Call, check_key
from ..problems import Problem
from ..rates import rate_answer
from ..store import Registration


def balance(call: Call) -> dict[str, str]:
    """GET /exchanges/ID/balance"""
    call.fields.end()
    return balance_of(call, call.registration())


def balance_of(call: Call, registration: Registration) -> dict[str, str]:
    """What the account owns there, open orders included, by currency."""
    with call.house.directory.registered(registration) as exchange:
        return {name: plain(total) for name, total in exchange.balance().items()}


def exchange_rate(call: Call) -> dict[str, str]:
    """GET /exchanges/ID/exchange_rate?from=USD&to=BTC"""
    currency, asset = call.fields.take_name("from"), call.fields.take_name("to")
    call.fields.end()
    with call.house.directory.registered(call.registration()) as exchange:
        return rate_answer(exchange.rate(currency, asset))


def buy(call: Call) -> Answer:
    """POST /exchanges/ID/buy"""
    return _order(call, "buy")


def sell(call: Call) -> Answer:
    """POST /exchanges/ID/sell"""
    return _order(call, "sell")


def _order(call: Call, side: Side) -> Answer:
    currency, asset = call.fields.take_name("currency"), call.fields.take_name("asset")
    amount = call.fields.take_amount()
    call.fields.end()
    return call.house.desk.place(call.registration(), side, currency, asset, amount, call.key())


def order_by_key(call: Call) -> Answer:
    """GET /exchanges/ID/orders/?key=KEY"""
    return call.house.desk.order_by_key(call.registration(), _asked_key(call))


def send_to_address(call: Call) -> Answer:
    """POST /exchanges/ID/send_to_address"""
    asset = call.fields.take_name("asset")
    amount = call.fields.take_amount()
    address = call.fields.take("address", limit=200)
    call.fields.end()
    if not (address.isprintable() and address == address.strip()):
        raise Problem(422, "invalid_request", "'address' is not an address", field="address")
    return call.house.desk.send(call.registration(), asset, amount, address, call.key())


def withdrawal_by_key(call: Call) -> Answer:
    """GET /exchanges/ID/withdrawals/?key=KEY"""
    return call.house.desk.withdrawal_by_key(call.registration(), _asked_key(call))


def get_address(call: Call) -> str:
    """GET /exchanges/ID/get_address?asset=BTC

    The answer is a bare text, so an address that needs a tag is refused: sent without it, the money is lost.
    """
    asset = call.fields.take_name("asset", default="BTC")
    call.fields.end()
    with call.house.directory.registered(call.registration()) as exchange:
        return _untagged(exchange, asset)


def _untagged(exchange: Exchange, asset: str) -> str:
    found = exchange.deposit_address(asset)
    if found.tag:
        raise Problem(422, "tag_required", f"an address for {asset} at {exchange.name} needs a tag", field="asset")
    return found.address


def _asked_key(call: Call) -> str:
    key = call.fields.take("key")
    call.fields.end()
    check_key(key, "key")
    return key
