"""The commands `nulpoint logs` and `nulpoint stats`, which show the request log in a terminal."""
