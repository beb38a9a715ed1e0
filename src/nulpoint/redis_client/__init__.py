"""The Redis connection of the process, and the circuit breaker hints that replicas share through Redis."""
