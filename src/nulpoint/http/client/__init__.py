"""The upstream HTTP/1.1 client: connection pools, connections, and how they are opened."""
