"""Random Networks for tests: a builder and hypothesis strategies over every layer kind."""

from oracle.networks.builder import NetworkBuilder
from oracle.networks.random import LAYER_KINDS, frames, networks, single_layers

__all__ = ["LAYER_KINDS", "NetworkBuilder", "frames", "networks", "single_layers"]
