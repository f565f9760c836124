"""Media types, metadata, thumbnails and previews."""
