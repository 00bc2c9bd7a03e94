"""IP address management: subnets, address pools, and which endpoint has which address."""
