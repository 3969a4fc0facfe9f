"""The pages and the REST interface: what a client can ask, for browsers and for programs.

Does not know: nodes, stores, jobs. It holds one client of the bus and says what that one may see.
"""
