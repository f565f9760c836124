"""Workflows that users save: versions, forks, and the assets that they need."""
