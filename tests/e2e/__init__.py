"""Whole roads, from a model to what runs."""
