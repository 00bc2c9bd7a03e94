"""What only minirun has: the runtime explains itself."""
