"""What libnetwork does: `controller` is the entry; rooms for bridge driver, IPAM, iptables, published ports and DNS."""
