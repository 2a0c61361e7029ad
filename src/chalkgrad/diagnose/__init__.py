"""Diagnosis: what is wrong with a backward pass or a derivation that somebody else wrote.

Imports the verifier and what is below it; imported by the layer type and the command line.
"""
