"""What the services say to each other, and how it travels.

Does not know: who listens, what a model is, where anything is stored.
"""
