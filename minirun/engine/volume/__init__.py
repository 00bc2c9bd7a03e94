"""Volumes and mount points."""
