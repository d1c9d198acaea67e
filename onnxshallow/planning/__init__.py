"""Which candidates to take."""
