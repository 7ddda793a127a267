"""Who may ask what, and how often: API keys in front of every route but health."""
