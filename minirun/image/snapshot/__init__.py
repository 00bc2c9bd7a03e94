"""Snapshots, overlayfs over layers: mount them, read through them, copy up."""
