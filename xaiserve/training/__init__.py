"""Training classifiers on labelled pictures, in pure torch."""
