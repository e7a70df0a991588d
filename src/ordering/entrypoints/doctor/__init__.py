"""``ordering doctor``: is everything the services need as it has to be? Looks at all of it, changes nothing."""
