"""The login: users, passwords, tokens, sessions and one-time links, in a file of their own beside the store."""
