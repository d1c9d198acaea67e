"""What to do to a network: candidates, their damage, and which of them to take."""
