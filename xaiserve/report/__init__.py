"""Pictures and self-contained HTML pages about explanations."""
