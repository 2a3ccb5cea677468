"""The whole stack under clients and faults of every kind, for as long as one likes.

`make soak MINUTES=10 SEED=7`: clients that ask everything that can be asked, faults by a schedule
that the seed fixes, and at the end a reckoning in which some numbers must be 0.
"""
