"""Requests that the mock of each provider accepts."""
