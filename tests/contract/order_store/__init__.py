"""One suite for the write side's ports; every order store passes all of it."""
