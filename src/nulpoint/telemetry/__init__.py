"""What is recorded about requests: the request log and the metrics."""
