"""What the system can do. Owns every port; knows no driver, no framework and no settings."""
