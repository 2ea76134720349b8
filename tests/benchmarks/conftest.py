"""Nothing here is a test: these are scripts that measure, some with tools that tests lack."""

collect_ignore_glob = ["*.py", "peers/*.py"]
