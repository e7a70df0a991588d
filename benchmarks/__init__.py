"""Where the performance figures come from: ``make bench`` writes RESULTS.md."""
