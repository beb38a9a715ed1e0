"""Requests and responses of Vertex AI, where they differ from the APIs of Anthropic and Gemini."""
