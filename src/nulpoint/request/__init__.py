"""A request as the gateway understands it: who sent it, what was asked, and what happened to it."""
