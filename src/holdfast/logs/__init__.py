"""What agents print: captured without loss, rotated, readable by time."""
