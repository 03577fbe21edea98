"""What `benchmarks/small_folders.py` consists of."""
