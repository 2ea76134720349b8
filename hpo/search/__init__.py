"""What is proposed: pure functions of seed and results."""
