"""Subcommands of `weir`, a file for each; imported only when one is called."""
