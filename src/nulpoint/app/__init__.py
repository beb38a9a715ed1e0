"""The gateway process: supervision of workers, wiring of the parts, configuration reloads, start and shutdown."""
