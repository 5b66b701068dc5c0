"""Plugins that a bundle needs: named where they are missing, and never imported on its word."""

from __future__ import annotations

import tomllib
from pathlib import Path, PurePath

from pareto_rec.bundle.files import CONFIG
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.registry import loaded_plugins, plugin_stem


def check_plugins(config: str, folder: Path) -> None:
    """Refuse a bundle whose plugins this process has not loaded.

    A bundle comes from anywhere, so that nothing in it may decide what is imported. Its plugins are
    compared with the loaded ones by the last part of their names, wherever their files lie.

    Args:
        config: The config of the run that the bundle is from.
        folder: The bundle.

    Raises:
        BadRequestError: If a plugin is missing; says how to load it. A config that cannot be read
            is left to what reads more of it.
    """
    try:
        names = tomllib.loads(config).get("plugins", [])
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequestError(
            f"{folder / CONFIG}: plugins is not a list of names; export the bundle anew"
        )
    loaded = {plugin_stem(name) for name in loaded_plugins()}
    missing = [name for name in names if plugin_stem(name) not in loaded]
    if missing:
        options = " ".join(f"--plugin {_shown(name)}" for name in missing[:3])
        raise BadRequestError(
            f"{folder} needs {'a plugin' if len(missing) == 1 else 'plugins'} of yours, which a "
            f"bundle neither holds nor imports: begin the command with `pareto-rec {options}`"
        )


def _shown(name: str) -> str:
    """A name for a message: the file without its folder, or the module."""
    return ascii(PurePath(name).name if name.endswith(".py") else name)[1:-1][:100]
