"""Image registries in a throw-away host (distribution, and one that misbehaves on demand), and small images for them."""
