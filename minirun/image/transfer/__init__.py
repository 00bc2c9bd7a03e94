"""Pull and push: what moves blobs between a registry and the content store."""
