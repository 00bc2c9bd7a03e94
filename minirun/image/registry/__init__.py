"""A client of the OCI distribution-spec: HTTP, authorization, TLS, credentials."""
