"""Adapts requests in OpenAI's chat format to what a host and a model of it accept."""
