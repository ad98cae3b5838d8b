"""HTTP/JSON over a Unix socket; one module per noun."""
