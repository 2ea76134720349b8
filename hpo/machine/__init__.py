"""The process and its machine: who we are, what we run on, signals, files written whole."""
