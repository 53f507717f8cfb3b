"""The XWrap: a server of one's own that holds the exchange keys and speaks to the exchanges."""
