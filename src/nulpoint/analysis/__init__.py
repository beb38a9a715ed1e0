"""Reading the request log: what `nulpoint logs` and `nulpoint stats` show."""
