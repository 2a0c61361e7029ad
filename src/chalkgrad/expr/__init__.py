"""Index notation: nodes, ranges, substitution, canonical order, plain text, grammar.

Imports nothing but the standard library and `chalkgrad.errors`; everything else may import it.
"""
