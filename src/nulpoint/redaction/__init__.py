"""Credentials and prompts are taken out of text before it is shown or logged. Pure."""
