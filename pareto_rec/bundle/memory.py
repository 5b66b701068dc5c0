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

from pareto_rec.bundle.files import Manifest
from pareto_rec.core.errors import BadRequestError


@dataclass
class Copies:
    """Copies of files in memory, by name.

    Attributes:
        paths: Where each can be opened, by this process and by others of the same user, as long
            as this one lives and has not called :meth:`close`.
    """

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
        copies = cls()
        try:
            for name in names:
                copies._add(manifest, name, check=check)
        except OSError as error:
            copies.close()
            raise BadRequestError(
                f"{manifest.folder} cannot be held in memory: {error.strerror or error}"
            ) from None
        except BaseException:
            copies.close()
            raise
        return copies

    def _add(self, manifest: Manifest, name: str, *, check: bool) -> None:
        handle, sealed = _anonymous_file(name)
        self._handles.append(handle)
        with open(handle, "wb", buffering=0, closefd=False) as stream:

            def put(part: memoryview) -> None:
                while part:
                    part = part[stream.write(part) :]

            manifest.read(name, put, check=check)
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
        return json.dumps({name: str(path) for name, path in self.paths.items()})

    @classmethod
    def from_json(cls, text: str) -> Copies:
        """Return the copies of another process, which must live until they have been read here."""
        return cls({name: Path(path) for name, path in json.loads(text).items()})

    def close(self) -> None:
        """Let go of the copies; mapped arrays stay valid until they are released."""
        for handle in self._handles:
            os.close(handle)
        self._handles.clear()


def _anonymous_file(name: str) -> tuple[int, bool]:
    """Open a nameless file of this process alone; says whether it can be sealed."""
    if hasattr(os, "memfd_create"):
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        return os.memfd_create(f"pareto-rec {name}"[:200], flags), True
    handle, path = tempfile.mkstemp(prefix="pareto-rec-")  # elsewhere: a file that is on no path
    os.unlink(path)
    return handle, False
