"""Numbers about explanations: pure functions and tallies that merge."""
