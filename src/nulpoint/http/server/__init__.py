"""The HTTP/1.1 server: its listener, connections, request heads and responses."""
