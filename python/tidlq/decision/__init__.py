"""What is decided about a network: ranges, from data or from a saved proto, and the plan."""

from tidlq.decision.outcome import Decision, Progress
from tidlq.decision.placement import place_layers, rescale
from tidlq.decision.road import decide

__all__ = ["Decision", "Progress", "decide", "place_layers", "rescale"]
