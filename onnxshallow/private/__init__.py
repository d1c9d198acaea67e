"""What a network would cost under secure computation: estimated from published and measured constants."""
