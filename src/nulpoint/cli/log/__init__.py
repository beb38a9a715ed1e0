"""`nulpoint logs` and `nulpoint stats`: read the request log and show it in a terminal."""
