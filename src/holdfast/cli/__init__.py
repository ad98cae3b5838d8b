"""The holdfast command; one module per noun."""
