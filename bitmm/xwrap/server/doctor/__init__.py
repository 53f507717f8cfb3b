"""`xwrap doctor`: what is well with an installation, and what is not. It only reads, also while a server runs."""
