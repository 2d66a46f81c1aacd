"""The command `nonroot`: its subcommands, options and output formats."""
