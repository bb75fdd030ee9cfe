"""What the package brings for the project folder: the compose file, the servers' configuration, the image's recipe.

A wheel carries them in `rectbot/files`, from where `rectbot init` lays them out in a folder of the operator's. A
checkout is such a folder already: there nothing is laid out, and git brings what is newer.

Which files are the operator's own by now is told by a record of what was laid out: what differs from it has been
changed by hand. That is never replaced and never removed; what a newer version has in its place is put beside it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import rectbot
from rectbot.errors import RectbotError
from rectbot.stack.layout import write_private

RECORD = "docker/.laid-out.json"
IMAGE = "docker/bot"  # where the image's recipe looks for a wheel
FILES = Path(__file__).resolve().parents[1] / "files"


@dataclass(frozen=True)
class Shipped:
    """A version, and the bytes that it has at each path of the project folder."""

    version: str
    files: Mapping[str, bytes]


@dataclass
class _Record:
    """Which version was laid out, and the digest of each of its files as it was."""

    version: str = ""
    digests: dict[str, str] = field(default_factory=dict)


def is_installed() -> bool:
    """Whether rectbot runs from a wheel, and not from a checkout."""
    return FILES.is_dir()


def shipped() -> Shipped | None:
    """What this installation brings, with a wheel of itself, from which the image is built; None in a checkout."""
    if not is_installed():
        return None
    from rectbot.stack.wheel import of_this_installation  # noqa: PLC0415 - not needed in a checkout

    files = {path.relative_to(FILES).as_posix(): path.read_bytes() for path in FILES.rglob("*") if path.is_file()}
    name, wheel = of_this_installation()
    return Shipped(rectbot.__version__, files | {f"{IMAGE}/{name}": wheel})


def lay_out(home: Path, new: Shipped) -> Iterator[str]:
    """Makes the files that are missing in `home`; yields a line for what was done. What is there stays as it is.

    Raises RectbotError when a file cannot be read or written.
    """
    record = _read_record(home)
    if record.version and record.version != new.version:
        yield f"the files here are of rectbot {record.version}, not {new.version}: 'rectbot init --upgrade' renews them"
        return
    missing = [path for path in sorted(new.files) if not (home / path).exists()]
    for path in missing:
        _write(home / path, new.files[path])
    same = [path for path in new.files if path in missing or _read(home / path) == new.files[path]]
    _write_record(home, _Record(new.version, record.digests | {path: _digest(new.files[path]) for path in same}))
    if missing and record.version:
        yield f"laid out again: {', '.join(missing)}"
    elif missing:
        yield f"laid out {len(missing)} files of rectbot {new.version} in {home}"


def upgrade(home: Path, new: Shipped) -> Iterator[str]:
    """Brings the files in `home` to a version; yields a line for what was done, and for what stays as it is.

    A file that the operator has changed or removed stays so. Beside a changed one the new text is put, as NAME.new.

    Raises RectbotError when a file cannot be read or written.
    """
    record = _read_record(home)
    explained = _settings_in(_read(home / ".env.example"))
    done: dict[str, list[str]] = {}
    for path in sorted(new.files):
        what = _renew(home, path, new.files[path], record)
        done.setdefault(what, []).append(path)
    for path in sorted(record.digests.keys() - new.files.keys()):
        done.setdefault(_retire(home, path, record), []).append(path)
    record.version = new.version
    _write_record(home, record)
    yield from _told(home, new, done)
    if explained and (names := sorted(_settings_in(new.files.get(".env.example")) - explained)):
        yield f"settings that are new, explained in .env.example: {', '.join(names)}"


def _renew(home: Path, path: str, wanted: bytes, record: _Record) -> str:
    """Brings one file to the new version, unless it is the operator's; returns what was done."""
    target, aside = home / path, home / f"{path}.new"
    there, known = _read(target), record.digests.get(path)
    if there != wanted and there is None and known is not None:
        return "removed"
    if there != wanted and there is not None and _digest(there) != known:
        _write(aside, wanted)
        return "kept"
    if there != wanted:
        _write(target, wanted)
    aside.unlink(missing_ok=True)
    record.digests[path] = _digest(wanted)
    return "same" if there == wanted else "replaced" if there is not None else "added"


def _retire(home: Path, path: str, record: _Record) -> str:
    """Removes a file that the new version does not have, unless it is the operator's."""
    there, known = _read(home / path), record.digests.pop(path)
    if there is None:
        return "same"
    if _digest(there) != known:
        return "forgotten"
    (home / path).unlink()
    return "dropped"


def _told(home: Path, new: Shipped, done: Mapping[str, list[str]]) -> Iterator[str]:
    words = {"replaced": "replaced by those of", "added": "new in", "dropped": "gone in"}
    for what, text in words.items():
        if paths := done.get(what):
            yield f"{text} rectbot {new.version}: {', '.join(paths)}"
    for path in done.get("kept", []):
        count = _differing_lines(_read(home / path) or b"", new.files[path])
        yield f"{path}: yours stays; {count} lines differ from rectbot {new.version}'s: diff -u {path} {path}.new"
    for path in done.get("removed", []):
        yield f"{path}: was removed here and stays away; 'rectbot init' brings it back"
    for path in done.get("forgotten", []):
        yield f"{path}: yours stays; rectbot {new.version} has no such file any more"


def _differing_lines(ours: bytes, theirs: bytes) -> int:
    old, new = (text.decode(errors="replace").splitlines() for text in (ours, theirs))
    return sum(
        line[:1] in "+-" for line in difflib.unified_diff(old, new, n=0, lineterm="") if line[:3] not in ("+++", "---")
    )


def _settings_in(example: bytes | None) -> set[str]:
    return set(re.findall(r"^([A-Z][A-Z0-9_]*)=", (example or b"").decode(errors="replace"), re.MULTILINE))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> bytes | None:
    """The content of a file; None where it is missing. Raises RectbotError."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        mend = "Docker makes one for a file that is missing; remove it, then run 'rectbot init'"
        raise RectbotError(f"{path}: is a folder and should be a file: {mend}") from None
    except OSError as error:
        raise RectbotError(f"{path}: cannot be read ({error.strerror}); make it readable for this user") from None


def _write(path: Path, content: bytes) -> None:
    """Readable for everybody, whatever the umask, since containers read it: it holds no secret."""
    write_private(path, content, mode=0o755 if content.startswith(b"#!") else 0o644)


def _read_record(home: Path) -> _Record:
    text = _read(home / RECORD)
    if text is None:
        return _Record()
    try:
        record = json.loads(text)
        return _Record(str(record["version"]), {str(path): str(digest) for path, digest in record["files"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        mend = "remove it, then run 'rectbot init --upgrade': every file that differs counts as yours then"
        raise RectbotError(f"{home / RECORD}: is damaged; {mend}") from None


def _write_record(home: Path, record: _Record) -> None:
    text = json.dumps({"version": record.version, "files": dict(sorted(record.digests.items()))}, indent=1)
    if _read(home / RECORD) != f"{text}\n".encode():
        _write(home / RECORD, f"{text}\n".encode())
