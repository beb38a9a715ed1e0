"""The chat completions API as a provider protocol, for OpenAI and the many hosts that have the same API."""
