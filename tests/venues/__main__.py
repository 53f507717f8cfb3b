"""The former place of `python -m bitmm.xwrap.testing.exchanges`, kept for one release."""

import sys

from bitmm.xwrap.testing.exchanges.__main__ import main

if __name__ == "__main__":
    print("tests.venues has moved: python -m bitmm.xwrap.testing.exchanges", file=sys.stderr, flush=True)
    main()
