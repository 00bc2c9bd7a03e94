"""The content store, an OCI image layout on disk: how images get in and out, ingests, locks, garbage collection."""
