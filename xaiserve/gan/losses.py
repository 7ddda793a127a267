"""The losses of DeScarGAN, each beside its formula.

J. Wolleb et al., arXiv 2007.14118, in the form of the authors' released code. ``x`` is the batch, n
pictures of which a share r_c is of class c; D_c the critic of class c, K the class head, G(x, c)
the translation of ``x`` into class c. Every picture is translated into both classes. A class that
the batch lacks adds 0.

Deviation: r_c is a share of the pictures at hand; the original divides by the full batch size, also
in the last, shorter batch of an epoch.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.nn import functional

Realness = Float[Tensor, "n 1 u v"]
"""One value per place of a critic's map."""

Loss = Float32[Tensor, ""]
Classes = Int64[Tensor, " n"]


def real_loss(realness: Sequence[Realness], classes: Classes) -> Loss:
    """L_real = -sum_c r_c E[D_c(x) | x of class c].

    Parameters
    ----------
    realness
        D_c(x) of the whole batch, for each c.
    classes
        The class of each picture.
    """
    return -torch.stack(
        [
            (classes == target).float().mean() * _mean(judged[classes == target])
            for target, judged in enumerate(realness)
        ]
    ).sum()


def fake_loss(realness: Sequence[Realness], classes: Classes) -> Loss:
    """L_fake = sum_c r_c E[D_c(G(x, c))], the mean over the whole batch."""
    return torch.stack(
        [
            (classes == target).float().mean() * judged.float().mean()
            for target, judged in enumerate(realness)
        ]
    ).sum()


def adversarial_loss(realness: Sequence[Realness]) -> Loss:
    """L_adv = -sum_c E[D_c(G(x, c))]."""
    return -torch.stack([judged.float().mean() for judged in realness]).sum()


def gradient_penalty(realness: Realness, mixture: Float[Tensor, "n c h w"]) -> Loss:
    """E[(|grad D_c(m_c)|_2 - 1)^2], the gradient of the *sum* of each picture's map.

    Parameters
    ----------
    realness
        D_c(m_c).
    mixture
        m_c = a x + (1 - a) G(x, c), with gradients.
    """
    (slope,) = torch.autograd.grad(realness.sum(), mixture, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(slope.float().flatten(1), dim=1)
    return (norms - 1).square().mean()


def class_loss(logits: Float[Tensor, "n 2"], classes: Classes) -> Loss:
    """L_cls of the critic = sum_c r_c CE(K(x_c), c), which is the mean over the batch."""
    return functional.cross_entropy(logits.float(), classes)


def target_loss(logits: Sequence[Float[Tensor, "n 2"]]) -> Loss:
    """L_cls of the generator = sum_c CE(K(G(x, c)), c)."""
    return torch.stack(
        [
            functional.cross_entropy(
                found.float(), torch.full((len(found),), target, device=found.device)
            )
            for target, found in enumerate(logits)
        ]
    ).sum()


def pixel_loss(
    inputs: Float[Tensor, "n c h w"], drawn: Float[Tensor, "n c h w"], classes: Classes
) -> Loss:
    """Sum_c MSE(x_c, drawn_c): L_id where ``drawn`` is G(x_c, c), L_rec where it is a round trip.

    L_rec of a diseased picture is MSE(x_d, G(G(x_d, h), d)), of a healthy one the other way round.
    """
    errors = (inputs.float() - drawn.float()) ** 2
    return torch.stack([_mean(errors[classes == target]) for target in (0, 1)]).sum()


def change_loss(
    inputs: Float[Tensor, "n c h w"], drawn: Sequence[Float[Tensor, "n c h w"]]
) -> Loss:
    """Sum_c E[|G(x, c) - x|]: ours, not in the published method, which gives it no weight.

    Squares forgive a faint change everywhere; this asks for changes in few places.
    """
    return torch.stack([(inputs.float() - each.float()).abs().mean() for each in drawn]).sum()


def _mean(values: Tensor) -> Tensor:
    """Average, in float32; nothing averages to 0."""
    return values.float().mean() if values.numel() else values.float().sum()
