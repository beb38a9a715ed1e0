"""Credentials that last for a time only: where they come from, and their renewal beside the requests."""
