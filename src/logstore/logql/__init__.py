"""LogQL: the grammar (grammar.lark), its syntax tree, and the units and regular expressions of the language."""
