"""One published explanation method per file."""
