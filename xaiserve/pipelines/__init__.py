"""Dataset-scale work on Ray."""
