"""What a request holds: its pictures, from its body or fetched, and what it asks."""
