"""Metabase on the history: `rectbot bi setup` brings it a reader's access, some questions and a dashboard of them.

`client` speaks Metabase's API, `reader` makes the role that may only read, `questions` is what is asked, `provision`
brings Metabase in line with that, `setup` does one after the other.
"""
