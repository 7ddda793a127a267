"""Every figure that the project states, as a command: ``python -m benchmarks NAME``."""
