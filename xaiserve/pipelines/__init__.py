"""Dataset-scale work on Ray Data."""
