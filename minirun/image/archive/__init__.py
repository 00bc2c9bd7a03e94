"""save, load and import: images as tar files."""
