"""What a query does to one line: filters, parsers and formatters, built from the syntax tree."""
