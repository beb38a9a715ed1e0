"""Admission control: how many requests, streams and bytes are in flight, and when the gateway is overloaded."""
