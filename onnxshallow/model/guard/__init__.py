"""Limits for models from strangers, checked before anything is computed."""
