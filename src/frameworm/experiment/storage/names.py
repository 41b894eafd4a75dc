"""Names of artifacts: data that becomes file names, so what is unsafe on any system or in any URL is refused."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from frameworm.experiment.errors import ArtifactError

__all__ = ["TEMPORARY", "check_artifact_name"]

TEMPORARY = ".tmp-"
"""What the names of our unfinished files begin with."""

_MAX_BYTES = 1_024
_MAX_PART_BYTES = 200  # 255 is the limit of file systems; a version is added
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE | re.DOTALL)


def check_artifact_name(name: object, source: str) -> None:
    """Refuse a name that is not safe as a path below a folder, on every system and however it is decoded.

    Args:
        name: folders separated by ``/``; any Unicode, spaces included.
        source: the file it is for, for the message.

    Raises:
        ArtifactError: empty or too long, absolute, with a drive letter, backslash or control character, with ``.``
            or ``..`` between separators (``/``, and ``?``, ``#``, ``;`` of URLs), also when percent-decoded once
            or several times or normalised; reserved by Windows, or as our unfinished files are called.
    """
    wrong = "it is not a str" if not isinstance(name, str) else _what_is_wrong(name)
    if wrong:
        raise ArtifactError(
            f"artifact name {name!r} (of {source!r}) is not allowed: {wrong}; allowed is a relative path such as "
            f"'plots/loss.png', pass another name"
        )


def _what_is_wrong(name: str) -> str:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it has lone surrogates or bytes that are not UTF-8"
    if size > _MAX_BYTES:
        return f"it is {size} bytes long, of at most {_MAX_BYTES}"
    for part in name.split("/"):
        if len(part.encode()) > _MAX_PART_BYTES:
            return f"a part is {len(part.encode())} bytes long, of at most {_MAX_PART_BYTES}"
        if part.startswith(TEMPORARY):
            return f"names that begin with {TEMPORARY!r} are of unfinished files"
        if _DEVICES.fullmatch(part.strip()):
            return f"{part!r} is reserved by Windows"
    form = name
    for _ in range(5):  # as many times as a careless reader may decode it
        for reading in (form, unicodedata.normalize("NFKC", form)):
            if wrong := _unsafe(reading):
                return wrong if reading == name else f"decoded as {reading!r}, {wrong}"
        decoded = unquote(form)
        if decoded == form:
            return ""
        form = decoded
    return "it is percent-encoded many times over"


def _unsafe(name: str) -> str:
    if "\\" in name:
        return "it has a backslash"
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in name):
        return "it has control characters"
    if name.startswith("/"):
        return "it is absolute"
    if re.match(r"[A-Za-z]:", name):
        return "it begins with a drive letter"
    for part in name.split("/"):
        if not part.strip():
            return "it is empty" if not name else "a part of it is empty"
    if any("." in part and not part.strip(" .") for part in re.split(r"[/?#;]", name)):
        return "it has '.' or '..' as a part"
    return ""
