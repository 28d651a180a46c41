"""Programs that .ci/sanitize runs under tools that see faults of memory and of threads."""
