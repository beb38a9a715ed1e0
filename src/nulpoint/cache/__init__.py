"""The exact-match response cache: what may be cached, under which key, where it is stored, and how it is served."""
