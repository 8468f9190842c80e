"""Graphs as integer-only C++: compiled for this machine it is an engine, as source a deliverable.

A Graph becomes *stages* (`stages.py`): an op and the element-wise ops behind it, at all positions.
Positions that compute the same share one *body* (`body.py`, `arithmetic.py`), a straight line of
integer steps in lanes just wide enough for their intervals. Lanes are events, and neighbouring
positions of an image. `emit.py` writes the C++, `library.py` compiles, loads and calls it.
"""
