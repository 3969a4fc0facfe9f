"""What models exist: reads manifests, checks them, and finds one by name and version.

Does not know: who asks, which nodes are alive, where files come from.
"""
