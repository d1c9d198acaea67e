"""Running parts of networks over calibration batches."""
