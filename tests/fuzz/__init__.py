"""Hostile input and faults: generators, the properties that must hold for each case, and the command that runs rounds.

`python -m tests.fuzz --help`. Every case is a pure function of (round, seed, number).
"""
