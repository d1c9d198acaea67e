"""Activations that are kept in part, written so that an engine saves the work: channel orders, Splits, indices."""
