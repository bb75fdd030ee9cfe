"""The local Discord: what stands in for discord.com where no token is at hand, and the judge of our tests.

`rectbot.testing.discord` serves it, `rectbot.testing.journal` reads what it saw.
"""
