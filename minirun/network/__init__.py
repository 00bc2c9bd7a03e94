"""What docker0 is made of: a bridge, cables, addresses, rules and names. `networks` is the door in."""
