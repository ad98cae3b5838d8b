"""The crash campaign: kill -9 of guard, init, spawner, keeper, logger and agents, singly, in pairs, all at once.

`python -m tests.crash --rounds 1000` runs it whole, `test_short.py` a short seeded form. Invariants after every
round: nobody doubled, nobody who was not killed restarted, nobody stuck, no leftovers, no printed line lost.
"""
