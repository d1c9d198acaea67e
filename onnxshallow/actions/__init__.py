"""Ways to change a network, one file each."""
