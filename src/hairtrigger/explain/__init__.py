"""What a network decides by, and what it can do without."""
