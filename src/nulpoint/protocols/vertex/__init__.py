"""What Vertex AI needs beyond the APIs of Anthropic and Gemini."""
