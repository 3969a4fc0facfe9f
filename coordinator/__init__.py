"""Which node runs which job: hears requests, announcements and facts; publishes jobs.

Does not know: how a model is run, where results are stored, what a framework is.
"""
