"""Reports: what was decided for each layer, in plain values."""
