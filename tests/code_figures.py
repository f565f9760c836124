"""Figures of the source code, as a table: ``python tests/code_figures.py [CHECKOUT ...]``, one column a checkout.

Counts the modules of ``comfy_assets`` and ``routes``. A comment is a ``#`` comment that is no directive to a tool.
"answers" is the number of docstrings with that word, which stands for "returns" in most.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

OPENINGS = re.compile(r"(?:What|Which|Whether|How|Those|Who|Whose)\b", re.IGNORECASE)
DIRECTIVES = re.compile(r"#\s*(?:noqa|type:|pragma|fmt:|ruff:)")


def sources(root: Path) -> dict[str, str]:
    """Return the text of each module below a checkout, by its dotted name."""
    paths = [*(root / "comfy_assets").rglob("*.py"), *(root / "routes").rglob("*.py")]
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path.read_text("utf-8")
        for path in sorted(paths)
    }


def own_imports(name: str, is_package: bool, tree: ast.Module, modules: set[str]) -> set[str]:
    """Return the modules of the project that a module imports."""
    package = name.split(".") if is_package else name.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            target = ".".join(part for part in base if part)
            for alias in node.names:
                inner = f"{target}.{alias.name}" if target else alias.name
                found.add(inner if inner in modules else target)
    return found & modules


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Yield every docstring of a module."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield text


def comments(text: str) -> int:
    """Return how many lines have a comment that is no directive."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT and not DIRECTIVES.match(token.string) for token in tokens)


def figures(root: Path) -> dict[str, str]:
    """Return the rows of the table for one checkout."""
    texts = sources(root)
    trees = {name: ast.parse(text) for name, text in texts.items()}
    lines = sum(text.count("\n") for text in texts.values())
    imports = sum(
        len(own_imports(name, (root / Path(*name.split("."))).is_dir(), tree, set(trees)))
        for name, tree in trees.items()
    )
    docs = [text for tree in trees.values() for text in docstrings(tree)]
    classes = Counter(node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    openings = sum(bool(OPENINGS.match(text)) for text in docs)
    return {
        "modules": str(len(texts)),
        "lines": str(lines),
        "imports of own modules a module": f"{imports / len(texts):.2f}",
        "docstrings that begin with what, which, whether, how, those, who": f"{100 * openings / len(docs):.1f} %",
        'docstrings that say "answers"': str(sum(bool(re.search(r"\banswers\b", text)) for text in docs)),
        "class names used in more than one module": f"{sum(n > 1 for n in classes.values())} of {len(classes)}",
        "comments a 1,000 lines": f"{1000 * sum(map(comments, texts.values())) / lines:.1f}",
    }


def main(arguments: list[str]) -> None:
    """Print the table."""
    roots = [Path(argument) for argument in arguments] or [Path(__file__).resolve().parents[1]]
    columns = [figures(root) for root in roots]
    for name in columns[0]:
        print(f"{name:66}" + "".join(f"{column[name]:>14}" for column in columns))


if __name__ == "__main__":
    main(sys.argv[1:])
