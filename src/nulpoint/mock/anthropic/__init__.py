"""A mock of Anthropic's API."""
