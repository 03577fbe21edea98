"""What the benchmarks share: environments, worker processes, what else runs, and goals."""
