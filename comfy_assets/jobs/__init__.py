"""Jobs: every prompt ever run, as the execution queue tells of it, kept in the store."""
