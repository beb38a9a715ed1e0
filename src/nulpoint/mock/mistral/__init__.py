"""A mock of Mistral's API."""
