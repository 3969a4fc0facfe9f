"""Runs models and measures them: takes jobs from the bus, gives facts back."""
