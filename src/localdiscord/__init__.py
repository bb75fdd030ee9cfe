"""The local Discord: what stands in for discord.com where no token is at hand, and the judge of our tests.

`localdiscord.discord` serves it, `localdiscord.journal` reads what it saw.
"""
