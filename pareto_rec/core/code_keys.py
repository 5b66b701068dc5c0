"""Keys of cached results by the code that computes them: the import closure of modules.

A module may be changed and yet no result, if it is in :data:`INNOCENT`; every other module that the
computing ones import, directly or not, inside functions or for type checkers alone, changes the key
with its first changed byte.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType

from pareto_rec.core.registry import plugin_key

PACKAGE = "pareto_rec"

INNOCENT: Mapping[str, str] = MappingProxyType(
    {
        "backbone.encoders": "finds files whose content enters keys",
        "core.checksums": "tells damaged files from whole ones, and changes none",
        "core.code_keys": "makes these keys",
        "core.errors": "wording of refusals",
        "core.fetch": "what it fetches is checked against checksums",
        "core.leftovers": "sweeps what killed processes left",
        "core.limits": "refuses values and changes none",
        "core.notices": "prints",
        "core.paths": "where files lie and how they are replaced; their content enters keys",
        "core.provenance": "describes versions and hardware, which are compared by name",
        "core.registry": "looks names up; plugins enter keys with their whole source",
        "core.sealed": "how files are stored, not what they say",
        "core.threads": "how many threads compute; results are the same for any number of workers",
        "core.unpacking": "refuses what unpacks to too much",
        "core.wording": "sentences for people",
        "experiment.config": "its values are compared or enter keys themselves",
        "experiment.identity": "refuses to go on; its own key is made here",
        "experiment.limits": "refuses values and changes none",
        "experiment.plugins": "imports plugins, which enter keys with their whole source",
        "runs": "how records are stored and read; the files that runs hand on are hashed",
        "execution.workers.cluster": "where packs are evaluated, not what they give",
        "execution.workers.evaluation": "hands packs out, and halves them where one fails",
        "execution.workers.timeout": "stops what takes too long",
        "execution.workers.pool": "processes that evaluate packs",
        "execution.workers.remote": "processes on other machines that evaluate packs",
    }
)
"""Part, or module, of the package that decides no result -> why; its imports are not followed."""

# An import statement on lines of its own. What a module has of them is what `ast` finds: a test
# compares the two for the whole package. Parsing every module in full would take 0.2 s at start.
_STATEMENT = re.compile(
    r"^[ \t]*((?:from[ \t]+[\w.]+[ \t]+import[ \t]+(?:\([^)]*\)|[^\n(]+))|(?:import[ \t]+[^\n]+))",
    re.MULTILINE,
)


def imported_names(tree: ast.AST) -> set[str]:
    """Return full names of everything imported anywhere below a node.

    Raises:
        ValueError: If an import is relative.
    """
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError("imports are absolute")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


class Package:
    """The modules of the package in a folder, each read and looked through once."""

    def __init__(self, root: Path) -> None:
        """Read the package whose ``__init__.py`` lies in `root`."""
        self.root = root
        self._sources: dict[str, bytes] = {}
        self._needed: dict[str, frozenset[str]] = {}

    @cached_property
    def modules(self) -> Mapping[str, Path]:
        """Full name -> file; the package itself, which loads its public names late, is left out."""
        files = {}
        for path in sorted(self.root.rglob("*.py")):
            parts = path.relative_to(self.root).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            if name:
                files[f"{PACKAGE}.{name}"] = path
        return files

    def source(self, module: str) -> bytes:
        """Return the file of a module, of this package or of another one that is loaded.

        Raises:
            KeyError: If there is no such module.
        """
        if module not in self._sources:
            path = self.modules.get(module)
            if path is None:
                path = Path(str(sys.modules[module].__file__))
            self._sources[module] = path.read_bytes()
        return self._sources[module]

    def imports(self, module: str) -> frozenset[str]:
        """Return modules of the package that a module names in its imports."""
        names = (name for name in self._names(module) if name.startswith(f"{PACKAGE}."))
        return frozenset(
            name if name in self.modules else name.rpartition(".")[0] for name in names
        )

    def needed(self, module: str) -> frozenset[str]:
        """As `imports`, but what a folder's ``__init__`` only passes on comes from its module."""
        if module not in self._needed:
            names = (name for name in self._names(module) if name.startswith(f"{PACKAGE}."))
            self._needed[module] = frozenset(self._origin(name) for name in names)
        return self._needed[module]

    def closure(self, *entries: str) -> tuple[str, ...]:
        """Return the modules and all that they need, in order, except those that decide nothing."""
        todo, seen = list(entries), set()
        while todo:
            module = todo.pop()
            if module not in seen and not _innocent(module):
                seen.add(module)
                todo += self.needed(module)
        return tuple(sorted(seen))

    def code_key(self, *entries: str) -> str:
        """Return the SHA-256 over the closure of some modules."""
        digest = hashlib.sha256()
        for module in self.closure(*entries):
            source = self.source(module)
            digest.update(f"{module} {len(source)} ".encode())
            digest.update(source)
        return digest.hexdigest()

    def _names(self, module: str) -> set[str]:
        return imported_names(self._statements(module))

    def _statements(self, module: str) -> ast.Module:
        """Return the import statements of a module."""
        source = self.source(module).decode()
        if module not in self.modules:  # not of our making: any layout
            return ast.parse(source)
        try:
            return ast.parse("\n".join(_STATEMENT.findall(source)))
        except SyntaxError:  # laid out in another way, or prose
            return ast.parse(source)

    def _origin(self, name: str) -> str:
        """Return the module that a full name stands for or is defined in."""
        while name not in self.modules:
            module, _, own = name.rpartition(".")
            passed = dict(self._passed_on(module))
            if own not in passed:
                return module
            name = passed[own]
        return name

    def _passed_on(self, module: str) -> Iterator[tuple[str, str]]:
        """Return names that a folder's ``__init__`` takes from its modules -> full names."""
        if module == PACKAGE:  # the public names, which only plugins import from here
            tree = ast.parse((self.root / "__init__.py").read_bytes())
        elif self.modules[module].name == "__init__.py":
            tree = self._statements(module)
        else:
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{module}."):
                for alias in node.names:
                    yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _innocent(module: str) -> bool:
    own = module.removeprefix(f"{PACKAGE}.")
    return any(f"{own}.".startswith(f"{name}.") for name in INNOCENT)


INSTALLED = Package(Path(__file__).parents[1])


def code_key(*entries: str) -> str:
    """Return sixteen hex digits of the code that computes something, plugins included.

    Args:
        entries: Full names of the modules that compute it, ``__name__`` among them; those of
            another package must be loaded, and count with their own file and what they import of
            this one.
    """
    own, plugins = _own_code_key(*entries), plugin_key()
    return hashlib.sha256((own + plugins).encode()).hexdigest()[:16] if plugins else own[:16]


@cache
def _own_code_key(*entries: str) -> str:
    return INSTALLED.code_key(*entries)
