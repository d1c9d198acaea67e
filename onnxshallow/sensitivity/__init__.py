"""How much each candidate damages the network's output."""
