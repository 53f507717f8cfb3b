"""The server's data base: SQLite for one process, PostgreSQL for any number of them.

`store` opens it: start there. `accounts`, `registrations`, `journal`, `counters` and `paper_ledger` each keep one kind
of thing, with the SQL statements beside the methods that use them; `records` are the records that they return;
`history` keeps since when orders may be missing. `tables` holds the tables. `base` says how statements are run;
`sqlite` and `postgresql` are the two engines.

Apart from the migrations (`server/migrations`) there is SQL nowhere else.
"""
