"""Shipping log lines to Loki: from Python's logging, and from files.

Lines that cannot be delivered wait on disk, within a limit; what is dropped beyond it is counted and told.
"""
