"""Attacks on a running whole, one script each; `python -m tests.attacks` runs them all beside honest clients.

A script is a module of this folder with

    NAME: str                                                          what it attacks, in a few words
    async def attack(target: Target, *, seconds: float) -> list[str]   what held, one sentence each

It raises AssertionError when something did not hold, sends only to the addresses of its target, needs about `seconds`,
ends whatever it started and leaves the simulator's counts alone, for every bill is compared with them at the end.
`python -m tests.attacks.<module>` runs one alone (`target.alone`).
"""
