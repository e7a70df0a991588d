"""The business, pure: no clock, no I/O, no randomness of its own, nothing asynchronous."""
