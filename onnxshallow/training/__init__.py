"""The graph in torch, and distillation: weights of an optimized network learn what the original says."""
