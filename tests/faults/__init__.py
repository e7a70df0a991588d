"""Faults of the real parts under load: every scenario ends with five zeros, in a small and in a full size."""
