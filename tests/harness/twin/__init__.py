"""The twin test: a host with a real dockerd beside one with minirun, the same scenario in both, the outputs compared."""
