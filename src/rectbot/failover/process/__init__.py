"""The workload as processes: the program, the watchdog that ends it in time, and what keeps all of it together."""
