"""Fuzzing: random messages for every RPC, random requests for every route, random bytes for every parser of answers.

`make fuzz` looks for new cases for ten minutes; the tests run a short search that is the same every time, and
everything that was found before (`tests/fuzz/cases`).
"""
