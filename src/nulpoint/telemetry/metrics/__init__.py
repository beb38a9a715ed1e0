"""The Prometheus metrics: their definitions, the counters, the exposition format, and the sum over several workers."""
