"""The request log: records, and the sinks they are written to."""
