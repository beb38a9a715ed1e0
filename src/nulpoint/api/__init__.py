"""The HTTP surface: which handler answers which path, and the gateway's own pages."""
