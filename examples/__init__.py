"""Small, complete examples: one for each place where the project can be extended."""
