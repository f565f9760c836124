"""GGUF models, recognized by their first bytes (the GGUF specification of ggml)."""

from __future__ import annotations

from .base import Format, read_nothing, starts_with

FORMATS = (Format("gguf", "application/gguf", "model", starts_with(b"GGUF"), read_nothing),)
