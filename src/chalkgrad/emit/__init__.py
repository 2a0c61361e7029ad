"""Readable array code from index notation: plan (what is computed), dialects (how it is spelled),
module_text (a module as text) and compiled (the same text, imported and callable).

Reads `expr`, `derivation`, `primitives` and `render`; never rewrites a formula's meaning.
"""
