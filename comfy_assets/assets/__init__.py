"""Assets: the places and contents of files, and the services over them."""
