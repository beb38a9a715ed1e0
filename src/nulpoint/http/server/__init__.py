"""The HTTP/1.1 server: its listener, connections, request parser and responses."""
