"""What a network costs under secure computation: estimated from constants, and measured with a real engine."""
