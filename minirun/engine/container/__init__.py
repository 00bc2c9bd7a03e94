"""The container object: config, names, the index on disk, status, inspect."""
