"""Who trains: claim, train, write at the end of a cycle, share, die well; every write checks its token."""
