"""Classifiers as protocols, as declared specifications and as loaded networks."""
