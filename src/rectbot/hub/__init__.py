"""The hub: what the outside asks about the failover, answered from Redis.

A site behind a firewall cannot be scraped; what it knows of itself stands in Redis.
"""
