"""--filter: one parser and matcher, and what each list adds to it."""
