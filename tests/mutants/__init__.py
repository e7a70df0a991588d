"""Every hazard with the broken builds that show that something notices it: ``make mutants``."""
