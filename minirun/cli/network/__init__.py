"""The verbs on networks."""
