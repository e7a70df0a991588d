"""What every event log promises: EventPublisher and EventSource."""
