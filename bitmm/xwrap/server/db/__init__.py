"""The server's data base: SQLite for one process, PostgreSQL for any number of them.

`store` opens it: start there. `accounts`, `registrations`, `journal`, `counters` and `paper_ledger` each keep one kind
of thing, with the SQL statements beside the methods that use them; `records` are the records that they return;
`history` keeps since when orders may be missing, which `completeness` finds out by the `state_file`. `tables` holds the
tables. `base` says how statements are run; `sqlite` (with `sqlite_file`) and `postgresql` are the two engines; `errors`
are what they raise when they cannot be used. `backup` copies a SQLite file, and puts a copy in its place.

Apart from the migrations (`server/migrations`) there is SQL nowhere else.
"""
