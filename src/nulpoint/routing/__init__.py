"""Decisions about where a request goes: pure, `now` is an argument."""
