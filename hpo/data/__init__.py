"""Where images are, how they come here, and one mapped copy of them."""
