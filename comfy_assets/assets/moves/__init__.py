"""Recognition of files that were moved or renamed."""
