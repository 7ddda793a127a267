"""CLEAR Image: contrastive and counterfactual explanations that measure their own fidelity."""

from xaiserve.explainers.clear_image.results import ClearExplanation

__all__ = ["ClearExplanation"]
