"""The former place of `python -m bitmm.xwrap.testing.exchanges`, kept for one release."""

from bitmm.xwrap.testing.exchanges.__main__ import main

if __name__ == "__main__":
    main()
