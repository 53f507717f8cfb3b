"""One small API to trade on many exchanges: `client` for programs, `server` to run an XWrap of one's own."""

__version__ = "0.1.0"
