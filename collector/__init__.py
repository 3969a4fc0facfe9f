"""Keeps what was seen, and gives it back as one timeline per evaluation.

Does not know: who runs a model, how one is measured, what the numbers mean.
"""
