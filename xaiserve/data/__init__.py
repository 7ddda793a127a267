"""Generated data sets with known answers, and the embedded classifier for them."""
