"""cgroups(7), version 1 and 2: what is mounted, one control group, its limits, the freezer, the device rules."""
