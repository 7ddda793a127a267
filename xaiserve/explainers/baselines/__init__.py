"""The methods that new ones are compared with, as plans and as gradient methods."""
