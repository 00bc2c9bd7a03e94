"""From a container's config to an OCI runtime bundle."""
