"""Many minutes at half load: what the processes hold at the end is what they held at the beginning."""
