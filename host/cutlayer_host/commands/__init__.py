"""The host's subcommands: train, serve, devices, run, bench."""
