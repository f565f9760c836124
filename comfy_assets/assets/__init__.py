"""Assets: where files are, what they contain, and the services over them."""
