"""Runs queries on the store: finds chunks, searches them as blocks in C, and evaluates what is left line by line."""
