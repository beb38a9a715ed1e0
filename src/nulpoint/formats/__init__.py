"""Neutral wire formats below HTTP and the protocols: JSON, server-sent events, event streams and retry times. Pure."""
