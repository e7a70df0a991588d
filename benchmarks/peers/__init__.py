"""What our services are measured against. Each peer runs in an environment of its own: see requirements.lock."""
