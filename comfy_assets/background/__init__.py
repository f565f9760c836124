"""Background work: named, cancellable tasks with progress, each with a row in the database."""
