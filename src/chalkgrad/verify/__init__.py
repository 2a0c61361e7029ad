"""Numbers against formulas: a reference evaluator, sampling, gradient oracles, the check of every line.

Imports `errors`, `expr`, `primitives` and `derivation` only; shares no code with the emitters.
"""
