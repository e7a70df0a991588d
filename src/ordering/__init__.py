"""ordering: an event-driven order-management system."""
