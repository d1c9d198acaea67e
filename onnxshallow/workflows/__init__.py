"""What a user asks for, one file each: a line of stages."""
