"""Our own HTTP/1.1 server, and a client with pooled connections to providers, on uvloop and httptools."""
