"""Everything in this process: for tests and for trying things out. Nothing outlives the process."""
