"""The interface to the server around us, and its implementations."""
