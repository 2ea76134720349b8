"""What is settled: a definition with every number, and the nouns that travel."""
