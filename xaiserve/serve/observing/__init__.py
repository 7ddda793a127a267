"""What is seen from outside of the work: logs, metrics, spans."""
