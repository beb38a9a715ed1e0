"""LLM wire protocols, each in a folder of its own.

The modules translate requests for a provider, and its responses and streams for the client. They do no I/O.
"""
