"""Training fully-connected networks with emitted code: data, update rules, network, loop, checkpoints.

May import everything below it (never the command line); nothing below it may import from here.
No file of this folder holds a derivative: every gradient comes from the engine.
"""
