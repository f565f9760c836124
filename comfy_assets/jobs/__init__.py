"""Jobs: a record of every prompt, kept in the store."""
