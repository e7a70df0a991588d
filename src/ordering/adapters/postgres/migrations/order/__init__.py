"""The order service's schema, step by step."""
