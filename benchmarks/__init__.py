"""What the system costs, beside its peer or its limit, in one run, as ratios with their intervals.

`python -m benchmarks` runs everything; `python -m benchmarks overhead tracing` some of it.
"""
