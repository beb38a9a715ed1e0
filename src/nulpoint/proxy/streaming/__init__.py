"""Streams: events are passed on from the provider to the client, and the client's connection is kept alive."""
