"""``python -m``: the same as the ``comfy-assets`` command."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
