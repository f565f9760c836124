"""Run the commands from the pack's folder: ``python custom_nodes/comfy-assets COMMAND``. Nothing needs to be installed.

``python -m comfy_assets_node`` does the same where pip has installed the project.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

_PACKAGE = "comfy_assets_node"
_FOLDER = Path(__file__).resolve().parent


def _main() -> int:
    """Return the exit status of the command."""
    if not __package__:
        _load_folder()
    try:
        cli = importlib.import_module(f"{_PACKAGE}.comfy_assets.cli")
    except ModuleNotFoundError as error:
        requirements = _FOLDER / "requirements.txt"
        print(f"comfy-assets needs the package {error.name}. Install what it needs with this command:", file=sys.stderr)
        print(f'"{sys.executable}" -m pip install -r "{requirements}"', file=sys.stderr)
        return 1
    status: int = cli.main()
    return status


def _load_folder() -> None:
    """Import the folder as a package, whatever its name is."""
    # Python has put the folder first, where its "routes" would hide another package of this name.
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    raise SystemExit(_main())
