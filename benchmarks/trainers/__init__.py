"""The parts of benchmarks/training.py; loops/ has one file for each contender."""
