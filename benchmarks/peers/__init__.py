"""Scripts for other people's tools: each runs in its tool's own environment, alone."""
