"""The parts of the configuration that are more than single settings."""
