"""Adapters against the real thing beneath them: files, disks, processes."""
