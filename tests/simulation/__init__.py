"""The whole path, many times, with every fault drawn from one printed seed."""
