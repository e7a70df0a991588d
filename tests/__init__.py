"""The tests, by what they show (CONTRIBUTING.md has the table)."""
