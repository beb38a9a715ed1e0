"""The data plane: our HTTP/1.1 server and pooled upstream client, on uvloop and httptools."""
