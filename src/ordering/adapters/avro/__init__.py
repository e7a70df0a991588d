"""Avro: order events as the bytes the whole ecosystem reads, and the schemas they are written with.

``codec`` and ``decoder`` are the ways in; ``border`` converts between fastavro's dictionaries and the domain;
``registry`` gives the permanent ids of ``schemas/index.json``; ``rules`` judges schemas before they are released.
"""
