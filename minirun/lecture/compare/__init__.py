"""`compare`: two containers side by side, their snapshots, the differences and why they are there."""
