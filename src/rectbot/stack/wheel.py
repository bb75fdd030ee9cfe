"""A wheel of an installed package, as it is installed: what our image is built from where there is no checkout.

The format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import hashlib
import io
import stat
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from rectbot.errors import RectbotError

_TIME = (1980, 1, 1, 0, 0, 0)  # the same installation gives the same bytes
_INSTALLERS_OWN = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}


def of_this_installation() -> tuple[str, bytes]:
    """The name and the bytes of a wheel of rectbot. Raises RectbotError when the installation is damaged."""
    try:
        return pack(distribution("rectbot"))
    except (PackageNotFoundError, OSError) as error:
        raise RectbotError(f"rectbot's installation is damaged ({error}); install it again with pip") from None


def pack(installed: Distribution, compression: int = zipfile.ZIP_DEFLATED) -> tuple[str, bytes]:
    """The name and the bytes of a wheel of what is installed, without what the installer has added."""
    files = {}
    for path in installed.files or ():
        in_metadata = path.parts[0].endswith(".dist-info")
        own = path.parts[0] == ".." or path.suffix == ".pyc" or (in_metadata and path.name in _INSTALLERS_OWN)
        if not own:
            place = Path(str(path.locate()))
            files[path.as_posix()] = (place.read_bytes(), 0o755 if place.stat().st_mode & 0o100 else 0o644)
    (metadata,) = {name.partition("/")[0] for name in files if name.endswith(".dist-info/WHEEL")}
    told = (installed.read_text("WHEEL") or "").splitlines()
    tags = zip(*(line.removeprefix("Tag: ").split("-") for line in told if line.startswith("Tag: ")), strict=True)
    suffix = "-".join(".".join(dict.fromkeys(part)) for part in tags)
    record = "".join(f"{name},{_record_hash(content)},{len(content)}\n" for name, (content, _) in sorted(files.items()))
    files[f"{metadata}/RECORD"] = (f"{record}{metadata}/RECORD,,\n".encode(), 0o644)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, (content, mode) in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type, entry.external_attr = compression, (stat.S_IFREG | mode) << 16
            archive.writestr(entry, content)
    return f"{metadata.removesuffix('.dist-info')}-{suffix}.whl", memory.getvalue()


def _record_hash(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
