"""One package per technology. Siblings never import each other."""
