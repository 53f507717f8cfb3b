"""Names of currencies and assets: the common upper-case ones, and what is written for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

__all__ = ["common_name", "is_name_of", "name_among", "pair_among"]

#: What an asset is called by some -> its common name. ISO 4217 keeps X for what is no state's currency, hence XBT.
_ALIASES = {"XBT": "BTC", "XDG": "DOGE"}


def common_name(name: str) -> str:
    """Return the common name of what a caller calls `name`, where all names are upper-case: BTC for btc and for XBT."""
    upper = name.upper()
    return _ALIASES.get(upper, upper)


def is_name_of(written: str, name: str) -> bool:
    """Return whether `name`, in any case, is what `written` commonly means.

    That is itself, the common name, or that of one of Kraken's keys, which have an X or a Z before: XXBT, ZUSD.
    """
    bare = written[1:] if len(written) == 4 and written[0].upper() in "XZ" else written
    return name.upper() in {written.upper(), common_name(written), common_name(bare)}


def name_among(name: str, listed: Collection[str], spellings: Callable[[], Mapping[str, str]] = dict) -> str:
    """Return the one of the `listed` names that a caller calls `name`; "kPEPE" may be another one than "KPEPE".

    It is the same to the letter, else the only one that is the same in another case, else the common name, else what
    the exchange's own `spellings` ("XXBT") lead to, which are asked for only then. What is none of them comes back in
    upper case, or as it is where it has both cases; and so does what may be several of them.
    """
    if name in listed:
        return name
    upper = name.upper()
    found = [one for one in listed if one.upper() == upper]
    if found:
        return found[0] if len(found) == 1 else name
    if common_name(name) in listed:
        return common_name(name)
    own = spellings()
    spelled = {own[one] for one in (name, upper, name.lower()) if one in own}
    if len(spelled) == 1:
        return spelled.pop()
    return common_name(name) if name in (upper, name.lower()) else name


def pair_among(
    currency: str,
    asset: str,
    listed: Collection[tuple[str, str]],
    spellings: Callable[[], Mapping[str, str]] = dict,
) -> tuple[str, str]:
    """Return the names of a pair as they stand in the `listed` ones, (currency, asset) each; see `name_among`."""
    if (currency, asset) in listed:
        return currency, asset
    currencies, assets = {money for money, _ in listed}, {thing for _, thing in listed}
    return name_among(currency, currencies, spellings), name_among(asset, assets, spellings)
