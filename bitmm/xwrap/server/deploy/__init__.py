"""`xwrap deploy`: files to run a server with, made from the templates in this folder."""
