"""Serves the proxied requests: admission, cache, single flight, attempts, failover and streaming."""
