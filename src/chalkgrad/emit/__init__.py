"""Readable array code from index notation: plan (what is computed), dialects (how it is spelled),
source (a module's text) and compile (the same text, imported and callable).

Reads `expr`, `derivation`, `primitives` and `render`; never rewrites a formula's meaning.
"""
