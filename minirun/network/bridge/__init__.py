"""The bridge driver: bridge, veth pair, network namespace and kernel settings of one network."""
