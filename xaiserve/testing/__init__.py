"""What tests need, ours and those of whoever adds a method."""
