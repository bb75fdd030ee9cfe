"""`rectbot backup FILE`"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rectbot import __version__
from rectbot.backup import parts
from rectbot.backup.frozen import freeze
from rectbot.backup.sealed import seal
from rectbot.errors import RectbotError
from rectbot.history.database import opened
from rectbot.history.dump import dump
from rectbot.stack.layout import Layout

if TYPE_CHECKING:
    from rectbot.settings import Settings


def make(
    settings: Settings, target: Path, passphrase: str | None, elsewhere: dict[str, Path] | None = None
) -> Iterator[str]:
    """Writes the backup, for its owner's eyes only, and yields a line for each part; None leaves the secrets out.

    The file appears when it is complete. Raises RectbotError, ConfigError.
    """
    layout = Layout.of(settings)
    folders = [folder for folder in parts.folders(layout, elsewhere) if folder.path.is_dir()]
    try:
        with _workshop(layout) as workshop, _archive(target) as archive:
            manifest = {"form": parts.FORM, "rectbot": __version__, "time": time.time(), "secrets": bool(passphrase)}
            _add(archive, parts.MANIFEST, json.dumps(manifest).encode())
            yield f"history: {_history(settings, archive, workshop):,} events, alerts and notes"
            for folder in folders:
                frozen = workshop / folder.name
                freeze(folder.path, frozen, folder.last)
                yield f"{folder.name}: {_add_tree(archive, frozen, f'{parts.STATE}/{folder.name}') / 2**20:.1f} MB"
                shutil.rmtree(frozen)
            shared = list(parts.shared(layout))
            for path in shared:
                archive.add(path, f"{parts.SHARED}/{path.relative_to(layout.monitoring)}", filter=_plain)
            yield f"dashboards, alert rules, addresses: {len(shared)} files"
            if passphrase is not None:
                secrets = list(parts.secrets(layout))
                _add(archive, parts.SECRETS, seal(_packed(layout, secrets), passphrase))
                yield f"secrets, encrypted: {len(secrets)} files"
    except OSError as error:
        raise RectbotError(f"{error.filename or target}: {error.strerror}; there is no backup") from None
    yield f"{target}: {target.stat().st_size / 2**20:.1f} MB"


@contextmanager
def _workshop(layout: Layout) -> Iterator[Path]:
    """On the file system of what is linked into it."""
    layout.folder()
    folder = Path(tempfile.mkdtemp(prefix="backup-", dir=layout.var))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _archive(target: Path) -> Iterator[tarfile.TarFile]:
    part = target.with_name(f".{target.name}.{os.getpid()}")
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6, format=tarfile.PAX_FORMAT) as archive:
                yield archive
            file.flush()
            os.fsync(handle)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _history(settings: Settings, archive: tarfile.TarFile, workshop: Path) -> int:
    path, count = workshop / parts.HISTORY, 0
    with opened(settings) as engine, engine.connect() as connection, path.open("w", encoding="utf-8") as file:
        for line in dump(connection):
            file.write(f"{line}\n")
            count += 1
    archive.add(path, parts.HISTORY, filter=_plain)
    return count


def _add_tree(archive: tarfile.TarFile, folder: Path, name: str) -> int:
    """Returns the bytes. A file that grows is added as far as it had come."""
    size = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                info = _plain(archive.gettarinfo(arcname=f"{name}/{path.relative_to(folder)}", fileobj=file))
                info.type, info.linkname = tarfile.REGTYPE, ""  # links to what the server holds, but files to us
                info.size = os.fstat(file.fileno()).st_size
                archive.addfile(info, file)
                size += info.size
    return size


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the names of users here."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), 0o600, int(time.time())
    archive.addfile(info, io.BytesIO(data))


def _packed(layout: Layout, paths: Sequence[Path]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for path in paths:
            archive.add(path.resolve(), str(path.relative_to(layout.home)), filter=_plain)
    return held.getvalue()
