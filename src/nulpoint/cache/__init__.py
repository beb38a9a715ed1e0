"""The response cache: it serves a stored response to a request that is exactly the same as an earlier one."""
