"""A cart service the way the seed is built, in its tuned form; runs on the packages of ../requirements.lock."""
