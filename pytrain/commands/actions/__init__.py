"""What the larger commands do, as functions of values."""
