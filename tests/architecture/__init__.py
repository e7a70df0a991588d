"""What the code may look like: layers, sizes, locks, the built package."""
