"""The gallery as web pages: one for each layer, and an index.

May import everything below it; the command line alone imports it.
"""
