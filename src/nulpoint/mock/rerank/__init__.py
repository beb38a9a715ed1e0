"""Mocks of the hosts of rerankers: Cohere, Jina and Voyage."""
