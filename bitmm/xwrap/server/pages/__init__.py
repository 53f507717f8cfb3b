"""The owner's page: what an account has and does, as HTML for a browser, without a script.

Each view asks the same functions as the JSON route of the same thing, with a `RequestContext` that a session opened.
"""
