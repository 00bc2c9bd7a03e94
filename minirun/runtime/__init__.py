"""What runc does: an OCI bundle in, one confined process out. Knows no image and no network."""
