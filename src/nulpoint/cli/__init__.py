"""The `nulpoint` command and its subcommands."""
