"""The stable error codes: what `APIError.code` and the member "code" of an error on the wire may be.

A program may rely on a code; the words beside it are for people and may change. The enum in server/openapi.yaml and the
table in the README beside this file are made from here, and tests hold them to it. A newer server may send a code that
is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

__all__ = ["CODES", "Code", "ErrorCode"]

ErrorCode = Literal[
    "address_not_allowed",
    "address_not_registered",
    "address_waiting",
    "already_registered",
    "amount_min",
    "amount_step",
    "answer_too_big",
    "bad_answer",
    "book_exhausted",
    "cancel_pending",
    "cost_min",
    "database_damaged",
    "database_unavailable",
    "exchange_busy",
    "exchange_dead",
    "exchange_key_refused",
    "exchange_refused",
    "exchange_unavailable",
    "exchange_url_missing",
    "foreign_origin",
    "frozen",
    "history_missing",
    "history_unavailable",
    "inexact",
    "insecure_url",
    "insufficient_funds",
    "invalid_address",
    "invalid_amount",
    "invalid_argument",
    "invalid_key",
    "invalid_nonce",
    "invalid_price",
    "invalid_request",
    "invalid_url",
    "key_may_send",
    "key_required",
    "key_reused",
    "limit_exceeded",
    "malformed_request",
    "method_not_allowed",
    "name_taken",
    "network_required",
    "no_answer",
    "no_such_key",
    "not_amended",
    "not_authenticated",
    "not_final",
    "not_found",
    "order_archived",
    "order_not_found",
    "order_not_open",
    "orders_unfinished",
    "other_account",
    "out_of_scope",
    "outcome_unknown",
    "overview_refused",
    "permission_denied",
    "price_required",
    "price_step",
    "quota_exceeded",
    "rate_limited",
    "registration_disabled",
    "request_timeout",
    "sends_off",
    "server_busy",
    "server_error",
    "still_running",
    "tag_required",
    "too_large",
    "too_many_tries",
    "unknown_asset",
    "unknown_exchange",
    "unknown_host",
    "unknown_interval",
    "unknown_market",
    "unsupported",
    "unsupported_media_type",
    "would_take",
]


class Code:
    """What a code means, and the HTTP status that it usually comes with; None: the client raises it by itself."""

    __slots__ = ("meaning", "status")

    def __init__(self, status: int | None, meaning: str) -> None:
        self.status = status
        self.meaning = meaning


CODES: Mapping[str, Code] = {
    "malformed_request": Code(400, "The request is not HTTP/1.1 as RFC 9112 writes it; nothing was executed."),
    "not_authenticated": Code(401, "There are no credentials, or wrong ones."),
    "address_not_allowed": Code(
        403, "The address, with this tag and network, is not on the account's allow-list; nothing was sent."
    ),
    "address_waiting": Code(
        403, "The address is on the allow-list, and may not be sent to before `usable_from`; nothing was sent."
    ),
    "exchange_key_refused": Code(403, "The exchange does not accept the exchange key, or its secret."),
    "foreign_origin": Code(403, "The call comes from a web page of another site."),
    "frozen": Code(
        403, "The account is frozen: neither an order nor a send leaves; the account's own password lifts that."
    ),
    "limit_exceeded": Code(
        403,
        "It would be more than a limit of the credential or of the address, or cannot be counted in its currency.",
    ),
    "out_of_scope": Code(403, "The credential may not make this call, or not with this registration or pair."),
    "permission_denied": Code(403, "The exchange key may not do this."),
    "registration_disabled": Code(403, "The registration is switched off; nothing was sent."),
    "sends_off": Code(403, "Sends are switched off for the registration (`allow_send`); nothing was sent."),
    "no_such_key": Code(404, "Nothing was executed with this key."),
    "not_found": Code(404, "There is no such URL or registration, or it is another account's."),
    "order_not_found": Code(404, "There is no such order."),
    "method_not_allowed": Code(405, "The URL does not take this method."),
    "already_registered": Code(
        409, "The account has registered this exchange key before; `registration` is the id of that."
    ),
    "request_timeout": Code(408, "The request did not come in time; nothing was executed."),
    "cancel_pending": Code(
        409, "All orders of the registration are being canceled; its dead man's switch can be set after that."
    ),
    "orders_unfinished": Code(
        409, "Orders or sends are open or not known yet, so the registration keeps its key; `force` lets them be."
    ),
    "other_account": Code(
        409, "The new key is of another account at the exchange than the one before; `other_account` allows it."
    ),
    "name_taken": Code(409, "There is a credential or an account of this name already."),
    "still_running": Code(409, "The call with this key is still running; ask again."),
    "order_archived": Code(
        410, "The order, or that of this key, was moved to an archive, which the words name; nothing was sent now."
    ),
    "too_large": Code(
        413, "The body of the request is too large, its URL (414) or its head (431); nothing was executed."
    ),
    "unsupported_media_type": Code(415, "The body of the request is not form-encoded, or for many orders not JSON."),
    "unknown_host": Code(421, "The server is not reached under this name."),
    "address_not_registered": Code(
        422, "The exchange sends only to addresses that were registered with it, and this one is not."
    ),
    "amount_min": Code(422, "The amount is below the market's minimum; `nearest` is the minimum."),
    "amount_step": Code(422, "The amount is no multiple of the market's step; `nearest` is the nearest allowed value."),
    "book_exhausted": Code(
        422, "The order book lists less than a market order wants; the words say how much, and nothing was sent."
    ),
    "cost_min": Code(422, "Amount times price is below the market's minimum; `nearest` is the minimum."),
    "exchange_dead": Code(422, "This exchange has closed; the words say why."),
    "exchange_refused": Code(422, "The exchange refused for a reason of its own; its words are the detail."),
    "history_unavailable": Code(
        422, "The exchange does not keep candles that are so old; the words say from when on it has them."
    ),
    "inexact": Code(422, "The library ccxt loses digits of amounts at this exchange, so it is not used."),
    "insufficient_funds": Code(422, "There is not enough of the currency or asset."),
    "invalid_address": Code(422, "This is no address of the asset."),
    "invalid_amount": Code(
        422, "An amount is no exact number in plain digits, not above zero, too small or too large."
    ),
    "invalid_price": Code(422, "The exchange does not take this price."),
    "invalid_request": Code(
        422,
        "A field is missing, unknown or malformed, or the exchange refuses the request as it is; `field` may name it.",
    ),
    "key_may_send": Code(
        422, "The exchange key may withdraw, and the registration does not allow sends; make a key without that right."
    ),
    "key_required": Code(422, "A send needs an Idempotency-Key, except at the paper exchange; nothing was sent."),
    "key_reused": Code(422, "This key was used with other parameters; nothing was sent."),
    "network_required": Code(422, "The asset can be sent over several networks; name one."),
    "not_amended": Code(
        422, "The order was canceled, or may be, and none took its place; look at it, or place another."
    ),
    "order_not_open": Code(422, "The order is final, so it can be neither canceled nor amended."),
    "price_required": Code(422, "This exchange has limit orders only; give a price."),
    "price_step": Code(422, "The price is no multiple of the market's step; `nearest` is the nearest allowed value."),
    "tag_required": Code(422, "The address needs a tag; ask for the deposit address."),
    "unknown_asset": Code(422, "The exchange does not list this currency or asset."),
    "unknown_exchange": Code(422, "The server does not offer this exchange."),
    "unknown_interval": Code(422, "The exchange has no candles of this length; the words name those that it has."),
    "unknown_market": Code(422, "The exchange does not trade this pair; the words say what it trades instead."),
    "unsupported": Code(422, "The exchange has no such call, or not with these fields."),
    "would_take": Code(422, "The post-only order would be executed at once; nothing was."),
    "quota_exceeded": Code(
        429,
        "The account has as many registrations, credentials or allowed addresses, or placed as many orders and sends in"
        " 24 hours, as the server allows; or a registration has as many open orders on paper.",
    ),
    "rate_limited": Code(429, "The exchange's limit for its callers is reached; `Retry-After` says when to come back."),
    "too_many_tries": Code(429, "Too many wrong passwords; `Retry-After` says when to come back."),
    "server_error": Code(500, "Something failed that the server did not foresee."),
    "database_damaged": Code(503, "The server's data base is damaged; its administrator must restore a backup."),
    "database_unavailable": Code(503, "The server's data base cannot be used now."),
    "exchange_busy": Code(503, "Too many calls wait for this exchange; nothing was sent."),
    "exchange_unavailable": Code(
        503, "The exchange cannot be reached, does not serve now, or its answer cannot be read; nothing was executed."
    ),
    "exchange_url_missing": Code(503, "The administrator has not said where this exchange is."),
    "history_missing": Code(
        503,
        "Nothing was sent now: orders are missing in the server's journal, and the exchange could not say whether this"
        " key was executed before.",
    ),
    "invalid_nonce": Code(
        503,
        "The exchange refused the number or the time of the request; nothing was executed, the same call may work now.",
    ),
    "overview_refused": Code(503, "The hub's overview document cannot be used, or asks for something unsafe."),
    "server_busy": Code(503, "The server has too many calls at once; this one sent nothing."),
    "outcome_unknown": Code(504, "The order or send may have been executed; ask again with its key."),
    "answer_too_big": Code(None, "The answer is larger than 16 MiB."),
    "bad_answer": Code(None, "The answer is not what was asked for."),
    "insecure_url": Code(None, "Plain HTTP to another machine would show the password."),
    "invalid_argument": Code(None, "An argument has the wrong type or cannot be sent."),
    "invalid_key": Code(None, "The idempotency key is not 1 to 255 printable ASCII characters."),
    "invalid_url": Code(None, "This is no URL of a server."),
    "no_answer": Code(None, "No connection was made or no complete answer came in time."),
    "not_final": Code(None, "The order was not final when the time to wait for it was up; it goes on."),
}
