"""Differentiation: A-normal form, reverse sweep, closed form, matrix form, stability.

Imports expr, rules, primitives and derivation; nothing below may import it.
"""

from chalkgrad.diff.derive import derive, for_code

__all__ = ["derive", "for_code"]
