"""Callbacks: hooks into the training loop."""
