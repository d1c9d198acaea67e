"""All options in one schema, and the quantities that people write."""
