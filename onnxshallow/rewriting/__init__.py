"""Carrying out a plan: apply, fit, lower, and look whether the result is stable."""
