"""The array vocabulary: every shape in the project is spelt with these names."""

from jaxtyping import Bool, Float32, Int64
from torch import Tensor

Image = Float32[Tensor, "c h w"]
"""One picture in image units: [0, 1], channels first, at the model's input size."""

Colour = Float32[Tensor, "c 1 1"]
"""One value per channel, in image units; may leave [0, 1]."""

Images = Float32[Tensor, "n c h w"]
Scores = Float32[Tensor, "n k"]
"""One probability per row and class; a multi-label row need not sum to 1."""

Margins = Float32[Tensor, " n"]
Labels = Int64[Tensor, "h w"]
"""A segment index per pixel, 0 to s - 1."""

Keep = Bool[Tensor, "n s"]
"""True where segment s of row n shows the image."""

Weights = Float32[Tensor, "n h w"]
"""The image's share of each pixel, 1 where it is shown and 0 where the fill is."""

Rank = Int64[Tensor, "h w"]
"""A place in an order per pixel; smaller comes first."""

Saliency = Float32[Tensor, "h w"]
"""Higher is more important."""

Region = Bool[Tensor, "h w"]
"""A set of pixels: a mask of ours or ground truth."""
