"""Where contrast pictures come from: a translator, real pictures, stored pairs, smoothing."""
