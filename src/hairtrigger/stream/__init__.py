"""A trigger over a raw stream: sources, the engine, and what is kept."""
