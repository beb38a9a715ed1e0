"""Mistral's chat and embeddings APIs."""
