"""Networks run under secure computation by a real engine, SPU, in an environment of its own."""
