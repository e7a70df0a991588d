"""The real parts without Docker (Kafka, schema registry, PostgreSQL), what stands in for them, and a TCP proxy."""
