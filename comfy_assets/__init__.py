"""A local library that speaks the hosted ComfyUI API."""

VERSION = "0.1.0"
