"""The floors of the house: imports point down only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import quart_uploads

PACKAGE = Path(quart_uploads.__file__).parent
FLOORS = [
    {"exceptions", "extensions", "wording", "redaction", "workers", "heap", "foreign", "part_head"},
    {"names", "media", "signals", "steps", "multipart"},
    {"storage"},
    {"config", "received", "reading", "testing"},
    {"rules"},
    {"upload"},
    {"operations", "delivery"},
    {"body"},
    {"reader", "early"},
    {"sets", "request"},
    {"serving"},
    {"app", "flask"},
    {"__init__"},
]
FRAMEWORKS = {
    "quart": {"body", "reader", "request", "sets", "serving", "app"},
    "flask": {"flask"},
    "aiofiles": {"sets", "serving"},
}
STORE_CLIENT = "storage/bucket.py"


def floor_of(module: str) -> int:
    (floor,) = (number for number, modules in enumerate(FLOORS) if module in modules)
    return floor


def imports(path: Path) -> set[str]:
    """The modules that a file imports: ``.names`` for one of ours, ``quart`` for another's."""
    found: set[str] = set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            assert node.module, "from . import hides which floor is meant"
            found.add("." + node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for imported in imports(path):
        if imported.startswith("."):
            below = imported.removeprefix(".")
            same_package = below == module == "storage"
            assert floor_of(below) < floor_of(module) or same_package, f"{module} imports {below}"
        for framework, users in FRAMEWORKS.items():
            assert imported != framework or module in users, f"{module} imports {framework}"


def test_one_module_imports_obstore_and_no_app_does_that_needs_it_not() -> None:
    importing = [path for path in PACKAGE.rglob("*.py") if "obstore" in imports(path)]
    assert importing == [PACKAGE / STORE_CLIENT]
    program = "import sys, quart_uploads.flask, quart_uploads.testing; assert 'obstore' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_module_has_its_floor() -> None:
    modules = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert modules == set().union(*FLOORS)


def test_both_flavours_have_the_same_names() -> None:
    import quart_uploads.flask

    assert set(quart_uploads.flask.__all__) ^ set(quart_uploads.__all__) == {"AsyncStoredFile", "StoredFile"}
    for name in set(dir(quart_uploads.UploadSet)) - {"url_async"}:  # in Flask url() may block
        assert hasattr(quart_uploads.flask.UploadSet, name)
