"""What runs and timelines mean: pure functions, messages and timelines in, rows out.

Does not know: where results are stored, how they are shown.
"""
