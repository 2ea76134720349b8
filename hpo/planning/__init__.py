"""What must be trained: one live or counted attempt a slot; decides, trains nothing."""
