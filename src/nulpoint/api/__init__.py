"""The HTTP API of the gateway: the routes, and the pages that the gateway serves itself."""
