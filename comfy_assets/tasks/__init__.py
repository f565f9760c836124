"""Background work: named, cancellable, with a row for each task."""
