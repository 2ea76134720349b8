"""What a user can ask for, as functions that return values."""
