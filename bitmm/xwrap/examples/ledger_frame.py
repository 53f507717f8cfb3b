"""The ledger of a registration as a pandas DataFrame: sums by asset and kind, exact to the last digit.

    XWRAP_USER=ann XWRAP_PASSWORD=... python ledger_frame.py

A column of Decimals has the dtype object, and pandas adds it up by Python's own +, without a float. Do not convert it.
"""

import os

import pandas as pd

from bitmm.xwrap.client import XWrap

pd.set_option("display.width", 120)
with XWrap() as xw:
    (backend,) = xw.list_backends(os.environ["XWRAP_USER"], os.environ["XWRAP_PASSWORD"], "paper")
    frame = pd.DataFrame(backend.ledger())
    frame["time"] = pd.to_datetime(frame["time"])
    frame["moved"] = frame["amount"] - frame["fee"]
    print(frame.pivot_table(index="kind", columns="asset", values="moved", aggfunc="sum", fill_value=0))

    moved = frame.groupby("asset")["moved"].sum()
    print(moved)
    assert moved.to_dict() == backend.balance(), "not all that moved is in the ledger"
    print("It is the balance, to the last digit.")
