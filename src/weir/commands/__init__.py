"""What the subcommands of `weir` do; imported only when one is called."""
