"""Deaths of every part of a running system, under load: what each costs, what is lost.

Each is a function of a running system and a load; tests and `python -m benchmarks reliability` run
the same ones.
"""
