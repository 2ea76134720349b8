"""What may be asked: a question, a grid or a space, a recipe; checked when it is built."""
