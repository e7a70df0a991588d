"""``ordering loadgen``: load for running services, its latencies, and whether they kept what they were given.

``work`` (one process) makes ``traffic`` for a ``driver``, which sends it over ``connection``s and notes latencies in a
``histogram``; ``verification`` asks for a sample of it afterwards; ``steps`` runs all that in one process or several.
"""
