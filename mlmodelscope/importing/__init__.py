"""Reads profiles that were made elsewhere: one file per format, pure, and nothing uncounted.

A file's bytes (files.py) become trace events (events.py); a format's reader turns these into a
Profile (profile.py): spans by column, metrics, and a ledger in which every event of the file
stands once. batches.py makes messages of it; storing.py, alone, speaks to the bus.
"""
