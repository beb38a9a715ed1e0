"""LLM wire protocols, one folder each: they write requests for a provider and read its responses and streams. Pure."""
