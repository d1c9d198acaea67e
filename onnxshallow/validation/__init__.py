"""What a rewrite cost, measured."""
