"""Precision: from ranges and a scheme to the scale, zero point and bits of every tensor."""
