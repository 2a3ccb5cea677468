"""Real clients against the real stack."""
