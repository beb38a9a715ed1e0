"""What outlives a request: metrics and the request log."""
