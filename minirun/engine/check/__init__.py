"""`system check`: what the kernel offers, and stale state that a killed process has left."""
