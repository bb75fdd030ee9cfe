"""The native engine: configuration, processes, status and faults of the whole stack on one machine."""
