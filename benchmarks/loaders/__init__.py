"""The parts of benchmarks/loading.py; contenders/ has one file for each."""
