"""Ways in: translate a request, call one use case, translate its answer back."""
