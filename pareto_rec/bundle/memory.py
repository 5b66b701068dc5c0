"""In-memory copies of a bundle's files, which no change of its folder reaches.

Tensors that were mapped from the folder would end the process with SIGBUS once a program cut a
file or wrote a new bundle over the old one. So every file is read once, what was read is compared
with its checksum, and tensors are mapped from the copy: an anonymous file of the kernel (Linux:
``memfd_create``) that is sealed against changes. Processes of one service map the same copy.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pareto_rec.bundle import files
from pareto_rec.bundle.files import Manifest
from pareto_rec.core.errors import BadRequestError


@dataclass
class Copies:
    """Copies of a bundle's files in memory, by name.

    Attributes:
        manifest: The bundle.
        paths: Where each can be opened, by this process and by others of the same user, as long
            as this one lives and has not called :meth:`close`.
    """

    manifest: Manifest
    paths: dict[str, Path] = field(default_factory=dict)
    _handles: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, manifest: Manifest, names: Iterable[str], *, check: bool) -> Copies:
        """Read files of a bundle into memory.

        Args:
            manifest: The bundle.
            names: The files.
            check: Whether checksums are compared; sizes always are.

        Raises:
            BadRequestError: If a file is not as it was written, or there are too many to open.
        """
        copies = cls(manifest)
        try:
            for name in names:
                copies._add(name, check=check)
        except OSError as error:
            copies.close()
            raise BadRequestError(
                f"{manifest.folder} cannot be held in memory: {error.strerror or error}"
            ) from None
        except BaseException:
            copies.close()
            raise
        return copies

    def _add(self, name: str, *, check: bool) -> None:
        handle, sealed = _anonymous_file(name)
        self._handles.append(handle)
        with open(handle, "wb", buffering=0, closefd=False) as stream:

            def put(part: memoryview) -> None:
                while part:
                    part = part[stream.write(part) :]

            self.manifest.read(name, put, check=check)
        if sealed:
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals | fcntl.F_SEAL_SEAL)
        where = f"/proc/{os.getpid()}/fd" if sealed else "/dev/fd"
        self.paths[name] = Path(f"{where}/{handle}")

    def content(self, name: str) -> bytes:
        """Return the content of a file."""
        return self.paths[name].read_bytes()

    def __contains__(self, name: object) -> bool:
        return name in self.paths

    def to_json(self) -> str:
        """Return values for :meth:`from_json` in another process."""
        manifest = self.manifest
        return json.dumps(
            {
                "folder": str(manifest.folder),
                "version": manifest.version,
                "files": dict(manifest.files),
                "paths": {name: str(path) for name, path in self.paths.items()},
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Copies:
        """Return the copies of another process, which must live until they have been read here."""
        content = json.loads(text)
        listed = {name: (size, digest) for name, (size, digest) in content["files"].items()}
        manifest = Manifest(Path(content["folder"]), content["version"], listed)
        return cls(manifest, {name: Path(path) for name, path in content["paths"].items()})

    def below(self, folder: str) -> dict[str, Path]:
        """Return the copies of files in a folder of the bundle, by their names in it."""
        return {
            name.removeprefix(f"{folder}/"): path
            for name, path in self.paths.items()
            if name.startswith(f"{folder}/")
        }

    def close(self) -> None:
        """Let go of the copies; mapped arrays stay valid until they are released."""
        for handle in self._handles:
            os.close(handle)
        self._handles.clear()


def copies_of(manifest: Manifest, *, verify: bool = True, backbone: bool = False) -> Copies:
    """Read what lists are made from into memory; only check files that stay on disk.

    Those are the graphs and, unless it is asked for, the backbone: they are read when they are
    needed, and compared again with their checksums then.

    Args:
        manifest: The bundle.
        verify: Whether checksums are compared.
        backbone: Whether the text encoder is read into memory, too.

    Raises:
        BadRequestError: If a file is not as it was written.
    """
    encoder = manifest.below(files.BACKBONE)
    later = [*manifest.below(files.ONNX), *([] if backbone else encoder)]
    for name in later if verify else ():
        manifest.read(name, len)
    names = [*files.NEEDED, *manifest.below(files.HEADS), *files.EXTRA]
    names += encoder if backbone else []
    return Copies.of(manifest, [n for n in names if n in manifest.files], check=verify)


def _anonymous_file(name: str) -> tuple[int, bool]:
    """Open a nameless file of this process alone; says whether it can be sealed."""
    if hasattr(os, "memfd_create"):
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        return os.memfd_create(f"pareto-rec {name}"[:200], flags), True
    handle, path = tempfile.mkstemp(prefix="pareto-rec-")  # elsewhere: a file that is on no path
    os.unlink(path)
    return handle, False
