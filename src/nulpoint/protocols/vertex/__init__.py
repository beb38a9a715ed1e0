"""Vertex AI: what it needs beyond the APIs of Anthropic and Gemini."""
