"""Read pictures from folders: list, decode, cache, and check them."""
