"""Prometheus metrics: definitions, counters, the exposition format, and adding up several workers."""
