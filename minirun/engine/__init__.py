"""What dockerd does, without a daemon: every command reads the state from disk and kernel, acts, and is gone."""
