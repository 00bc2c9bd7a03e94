"""What Linux gives: one module for each facility, named as its man page. Knows no container, no image, no Docker."""
