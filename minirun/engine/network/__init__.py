"""A container's network sandbox: endpoints, links, names, port bindings."""
