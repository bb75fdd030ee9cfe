"""Everything that matters of a stack in one file: made while it runs, restored into an empty place."""
