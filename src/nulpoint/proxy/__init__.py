"""One proxied request from its bytes to its record: admission, cache, single flight, attempts, failover, streaming."""
