"""How much each candidate damages the network: measured by a sweep, kept in a cache."""
