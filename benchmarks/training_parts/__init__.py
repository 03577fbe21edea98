"""The parts of benchmarks/training.py; loops/ holds one way to train a file."""
