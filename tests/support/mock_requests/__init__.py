"""Requests that the mocks of each provider take."""
