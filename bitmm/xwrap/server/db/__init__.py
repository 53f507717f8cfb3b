"""The server's data base: SQLite for one process, PostgreSQL for any number of them.

`store` opens it. `base` says how statements are run, `sqlite` and `postgresql` are the two engines, `tables` are the
tables, `records` what the rest of the server gets from here. Each other module is one kind of thing that is kept, with
its SQL statements: `accounts`, `registrations`, `journal`, `counters`, `paper_ledger`. The server has no SQL elsewhere,
but in `migrations`.
"""
