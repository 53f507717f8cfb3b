"""Any exchange that the library ccxt knows, as "ccxt:ID"; for those without a folder of their own.

ccxt is imported on first use (the extra `ccxt`). Its classes speak the exchanges' protocols; what they do with numbers
and failures is put right here:

- Numbers stay exact: JSON fractions are read as text, ccxt's own number type is text, order books are Decimal. A
  self-test refuses a class that loses a digit.
- Every request goes through our transport: it has a deadline, is sent once, follows no redirect, and is certainly
  unsent or perhaps received.
- ccxt rounds amounts and prices silently; an order that it would change is refused before anything is sent.

An order goes through these modules, in this order:

- `classes` makes the class of an exchange, with `form` (what a registration must have) and `client_ids` (how it takes
  our id);
- `adapter` places it: `placing` chooses ccxt's call, `precision` refuses what ccxt would change;
- `calls`, `instance` and `session` make that call: our queue, one ccxt object for each registration, our transport;
  `exactness` reads the JSON of the answer;
- ccxt's own class reads the answer, with `additions` and `rows` before it: what it lacks, and odd rows of lists;
- `parsing` makes our records of ccxt's; `failures` says what an error proves, and `error_codes` what it is called;
- `orders` reads it later, finds it by the questions of `order_lookup`, and cancels it.

Quirks without a date were seen in ccxt 4.5.64 and 4.5.90, in November 2026.
"""

from .classes import exchange_class

__all__ = ["exchange_class"]
