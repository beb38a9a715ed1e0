"""What is known of models: abilities, limits, prices and dates of retirement, by model and host."""
