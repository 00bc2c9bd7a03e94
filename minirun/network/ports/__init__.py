"""Published ports: allocate a host port, map it by rules, and the userland proxy beside them."""
