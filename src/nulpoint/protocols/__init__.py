"""LLM wire protocols: translation of requests for a provider, and of its responses and streams. Nothing here does I/O.

Each wire protocol has a folder of its own.
"""
