"""More work than is allowed, sockets that get stuck, stops under load, clients that hang up: what is promised then."""
