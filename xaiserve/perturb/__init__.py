"""Perturbed images as data, the protocol for asking about them, and who answers."""
