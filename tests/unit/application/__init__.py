"""The application layer alone, in virtual time."""
