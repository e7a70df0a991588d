"""SQLite: one writing connection per process and file, short reads beside it."""
