"""The parts of benchmarks/serving.py; peers/ holds an application for each server."""
