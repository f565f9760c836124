"""The seam: what the services need from the program they live in, and the programs that give it."""
