"""What every read model promises: ProjectionStore, OrderViews and DeadLetters."""
