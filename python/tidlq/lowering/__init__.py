"""Lowering: a QuantPlan becomes a Network, the integer program of `proto/network.proto`."""
