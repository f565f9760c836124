"""A local library with the hosted ComfyUI API."""

from .logs import escape_records

VERSION = "0.1.0"

escape_records()
