"""One Redis connection for the whole process, and what replicas tell one another through it."""
