"""`jackline drill`: faults against real processes, and what they did to the guarantees.

It starts a server of the operator's own agent (two web processes, two workers, a store), lets runs begin,
breaks something, and compares what the viewers saw, what the tools did and what was acknowledged with the
log in the end. To the server it is a client like any other.
"""
