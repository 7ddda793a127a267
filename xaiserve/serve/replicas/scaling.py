"""A model's number of replicas, as Serve takes it."""

from typing import Any, Final

from xaiserve.serve.model_settings import ModelSettings
from xaiserve.serve.replicas.autoscaling import PendingInputs

POLICY: Final = f"{__name__}:{PendingInputs.__name__}"
"""Named by this module: Serve pickles by value what the named module defines, and what it only
imports by reference, as is right for code that every process has."""


def scale_options(model: ModelSettings) -> dict[str, Any]:  # Any: Serve's options
    """Return the options of a deployment that say how many replicas it has."""
    scale = model.autoscaling
    if scale is None:
        return {"num_replicas": model.replicas}
    return {
        "autoscaling_config": {
            "min_replicas": scale.min,
            "initial_replicas": scale.min or 1,
            "max_replicas": scale.max,
            "upscale_delay_s": scale.upscale_delay_s,
            "downscale_delay_s": scale.downscale_delay_s,
            "downscale_to_zero_delay_s": scale.downscale_to_zero_delay_s,
            "look_back_period_s": scale.look_back_s,
            "policy": {
                "policy_function": POLICY,
                "policy_kwargs": {"target": scale.target_inputs},
            },
        }
    }
