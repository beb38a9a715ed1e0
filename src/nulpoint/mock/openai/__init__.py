"""Mock providers that speak OpenAI's API."""
