"""One gateway process from start to end: supervision, wiring, the configuration in force, reloads."""
