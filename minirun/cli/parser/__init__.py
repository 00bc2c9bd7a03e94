"""pflag's grammar, help, completion, and what minirun does not support."""
