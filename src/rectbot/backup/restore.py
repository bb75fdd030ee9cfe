"""`rectbot restore FILE`"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from rectbot.backup import parts
from rectbot.backup.sealed import unseal
from rectbot.errors import ConfigError, RectbotError
from rectbot.history.database import opened, writing
from rectbot.history.dump import load
from rectbot.settings import load_settings
from rectbot.stack.layout import Layout
from rectbot.stack.supervise import Supervisor

if TYPE_CHECKING:
    from rectbot.settings import Settings

_MOST_SECRET_BYTES = 16 * 2**20


def restore(
    layout: Layout, source: Path, passphrase: str | None, elsewhere: dict[str, Path] | None = None
) -> Iterator[str]:
    """Puts everything back where it was, and yields a line for each part; None leaves the secrets alone.

    Nothing is overwritten but dashboards, alert rules and the list of addresses. All is read before anything is put
    in its place. Raises RectbotError, ConfigError.
    """
    if Supervisor(layout).running():
        raise RectbotError("the stack is running: stop it first ('rectbot down')")
    folders = parts.folders(layout, elsewhere)
    layout.claim()
    unpacked = Path(tempfile.mkdtemp(prefix="restore-", dir=layout.var))
    try:
        _unpack(source, unpacked)
        _check_manifest(unpacked, source)
        for folder in folders:
            if (unpacked / parts.STATE / folder.name).is_dir():
                _check_empty(folder)
        secrets = _secrets(layout, unpacked, passphrase)
        for path, data in secrets.items():
            _put(path, data)
        yield f"secrets: {len(secrets)} files" if passphrase is not None else "secrets: left alone"
        yield from _folders(unpacked, folders)
        yield from _shared(layout, unpacked)
        settings = load_settings(rectbot_home=layout.home)  # as the restored .env says
        yield f"history: {_history(settings, unpacked):,} events that were not there"
    except OSError as error:
        raise RectbotError(f"{error.filename or source}: {error.strerror}") from None
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _unpack(source: Path, target: Path) -> None:
    try:
        with tarfile.open(source, "r:gz") as archive:
            for member in archive:
                _unpack_one(archive, member, target)
    except (tarfile.TarError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RectbotError(f"{source}: is no backup, or is damaged ({error})") from None


def _unpack_one(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Regular files below the target only: a backup may have passed through other hands."""
    name = PurePosixPath(member.name)
    file = archive.extractfile(member) if member.isreg() else None
    if file is None or name.is_absolute() or ".." in name.parts or not name.parts:
        raise tarfile.TarError(f"{member.name!r} does not belong into it")
    path = target / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as out:
        path.chmod(0o600)
        shutil.copyfileobj(file, out, 2**20)


def _check_manifest(unpacked: Path, source: Path) -> None:
    try:
        form = json.loads((unpacked / parts.MANIFEST).read_text())["form"]
    except (OSError, ValueError, TypeError, KeyError):
        raise RectbotError(f"{source}: is no backup of rectbot") from None
    if form != parts.FORM:
        raise RectbotError(f"{source}: has the form {form!r}, of another version of rectbot")


def _check_empty(folder: parts.Folder) -> None:
    if folder.path.exists() and any(path.is_file() for path in folder.path.rglob("*")):
        raise RectbotError(f"{folder.path}: there is data already, and nothing is replaced: move it away first")


def _secrets(layout: Layout, unpacked: Path, passphrase: str | None) -> dict[Path, bytes]:
    """What is to be written where. Nothing that is there and is other is replaced."""
    if passphrase is None:
        return {}
    sealed = unpacked / parts.SECRETS
    if not sealed.exists():
        raise ConfigError("this backup holds no secrets: restore it with --without-secrets")
    found: dict[Path, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(unseal(sealed.read_bytes(), passphrase))) as archive:
        for member in archive:
            path = layout.home / member.name
            file = archive.extractfile(member)
            if file is None or not path.resolve().is_relative_to(layout.home):
                raise RectbotError(f"{member.name!r} does not belong into a backup")
            found[path] = file.read(_MOST_SECRET_BYTES)
    for path, data in found.items():
        if path.exists() and path.read_bytes() != data:
            raise RectbotError(f"{path}: is there already, and is other: move it away, or use --without-secrets")
    return found


def _folders(unpacked: Path, folders: list[parts.Folder]) -> Iterator[str]:
    for folder in folders:
        held = unpacked / parts.STATE / folder.name
        if held.is_dir():
            folder.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.path.exists():
                shutil.rmtree(folder.path)
            shutil.move(held, folder.path)
            yield f"{folder.name}: {folder.path}"


def _shared(layout: Layout, unpacked: Path) -> Iterator[str]:
    held, changed = unpacked / parts.SHARED, 0
    for path in sorted(held.rglob("*")):
        target = layout.monitoring / path.relative_to(held)
        if path.is_file() and not (target.exists() and target.read_bytes() == path.read_bytes()):
            _put(target, path.read_bytes(), 0o644)
            changed += 1
    yield f"dashboards, alert rules, addresses: {changed} files that were other"


def _put(path: Path, data: bytes, mode: int = 0o600) -> None:
    path.parent.mkdir(mode=0o700 if mode == 0o600 else 0o755, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.restored")
    temporary.touch(mode)
    temporary.write_bytes(data)
    temporary.chmod(mode)
    temporary.replace(path)


def _history(settings: Settings, unpacked: Path) -> int:
    with opened(settings) as engine, writing(engine) as connection, (unpacked / parts.HISTORY).open() as lines:
        return load(connection, lines)
