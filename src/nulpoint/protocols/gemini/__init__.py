"""Gemini's generateContent API and its embeddings."""
