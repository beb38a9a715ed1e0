"""One request's life: admitted, prepared, tried, answered, settled."""
