"""What outlives a request: answers, results that are fetched later, idempotency keys."""
