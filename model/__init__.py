"""The two-layer classifier: data, network, schedules and training, in NumPy alone."""
