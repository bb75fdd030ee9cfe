"""Where a record can be kept: each store is a register that knows no rule. See base.py."""
