"""What the product, the log store and the local Discord stand on; it knows none of them.

Errors and text that people read, lengths of time, and what keeps a server safe from web pages and from floods.
"""
