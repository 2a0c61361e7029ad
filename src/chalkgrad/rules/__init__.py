"""Named identities, and the workspace in which they are applied. Knows nothing of layers.

Imports expr, primitives and errors; `chalkgrad.diff` decides when to use which rule.
"""
