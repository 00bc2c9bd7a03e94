"""--format, tables, units, JSON: how results become text."""
