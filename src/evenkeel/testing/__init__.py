"""Real servers and fault helpers, for evenkeel's tests, benchmarks and users' own."""
