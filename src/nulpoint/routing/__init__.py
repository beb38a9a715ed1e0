"""Decides where a request goes. Nothing here does I/O or reads a clock: the time is always an argument."""
