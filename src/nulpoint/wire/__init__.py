"""Wire formats: bytes and values, without I/O, clock or chance."""
