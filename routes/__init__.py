"""HTTP: one module per noun, handlers that parse, call and answer."""
