"""Other quantizers, each in a module of its own, run in an environment of their own."""
