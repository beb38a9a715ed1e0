"""Removes credentials and prompts from text before it is shown or logged. Pure."""
