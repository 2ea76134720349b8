"""What `hpo.commands.doctor` looks at, by noun: each module finds what is wrong there, and mends it."""
