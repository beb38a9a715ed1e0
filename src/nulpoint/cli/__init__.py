"""The `nulpoint` command."""
