"""`rectbot doctor`: holds the running system to its promises, one small function for each.

It looks only: no message is sent, nothing is pushed, nothing is changed.
"""
