"""Apache Kafka: the way into the event log, the way out of it, and the topic itself."""
