"""The verbs on images."""
