"""Resume an interrupted fit: what a checkpoint holds, and what it is compared with."""
