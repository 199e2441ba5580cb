"""Subcommands of `scalpel`: a module each, with `add_arguments(parser)` and `run(arguments)`."""
