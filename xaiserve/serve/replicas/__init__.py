"""What a model's replicas do, and how many there are."""
