"""The parts of benchmarks/loading.py; ways/ holds one way to load a file."""
