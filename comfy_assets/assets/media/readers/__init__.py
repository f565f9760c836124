"""Readers of file formats: one module a family, joined in ``metadata``."""
