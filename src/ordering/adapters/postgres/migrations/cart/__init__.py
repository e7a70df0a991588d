"""The cart service's schema, step by step."""
