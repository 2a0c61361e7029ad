"""The training step as straight-line NumPy code that writes into memory allocated once (`out=`).

    build      statements of a plan → operations, one NumPy call each, repeated ones shared
    memory     which values share a buffer, by liveness
    step_text  the operations as a readable module

May import the rest of `emit` and what is below it.
"""
