"""A layer: tar stream to directory and back, compression, the difference between two directories."""
