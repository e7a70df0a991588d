"""Alembic's environment: two independent trees, one per service, each with its version table in its own schema."""
