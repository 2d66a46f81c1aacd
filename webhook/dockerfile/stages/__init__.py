"""Instructions -> stages and steps, as BuildKit dispatches them."""
