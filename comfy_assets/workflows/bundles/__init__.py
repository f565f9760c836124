"""Workflow bundles: zip files that hold a workflow and its assets."""
