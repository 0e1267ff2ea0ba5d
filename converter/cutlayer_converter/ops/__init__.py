"""One file an op, named like its kernel's C file: what the firmware supports, and the parameters."""
