"""Export of assets: zip files of a user's selection, to download."""
