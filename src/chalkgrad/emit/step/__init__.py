"""The training step as straight-line NumPy code that writes into memory allocated once (`out=`).

    build, appending   statements of a plan → operations, one NumPy call each, repeated ones shared
    memory             which values share a buffer, by liveness
    pieces             the update of all parameters at once, piece by piece
    step_text          a whole step as a readable module

May import the rest of `emit` and what is below it.
"""
