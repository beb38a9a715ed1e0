"""The known providers as data: endpoints, wire formats, authentication and prices. This package does no I/O."""
