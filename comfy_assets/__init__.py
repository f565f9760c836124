"""A local library that speaks the hosted ComfyUI API."""

from .log_lines import escape_records

VERSION = "0.1.0"

escape_records()
