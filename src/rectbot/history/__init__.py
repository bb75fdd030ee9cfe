"""What became of the bot, for longer than Prometheus and the store's journal remember: recorded, asked, reported.

`story` is pure: events in, leaderships, switches and outages out. `database` keeps them through SQLAlchemy, `record`
brings them in, `report` answers "how was our month?".
"""
