"""Files of experiments as they are served: opened once, below their folder and following no link, and sent from that.

A path that was looked at could be a link to elsewhere by the time it is opened. So nothing is opened twice: what is
told of a file, and what is sent, comes from the descriptor that was checked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from frameworm.experiment.errors import UnsafePathError
from frameworm.experiment.paths import open_inside

__all__ = ["OpenedResponse", "open_below"]


def open_below(folder: Path, path: str) -> FileIO | None:
    """Open a regular file below a folder for reading; None if there is none.

    Raises:
        UnsafePathError: the path leads out of the folder, or a link is on its way, or it is no regular file.
    """
    try:
        return FileIO(open_inside(folder, path), "rb")
    except UnsafePathError:
        raise
    except OSError:
        return None


class OpenedResponse(FileResponse):
    """Sends an open file, or ranges of it, and closes it."""

    def __init__(
        self, file: FileIO, *, filename: str, media_type: str, headers: Mapping[str, str], inline: bool
    ) -> None:
        # By its descriptor: the library opens that, and so no name that could lead elsewhere by now.
        super().__init__(
            f"/dev/fd/{file.fileno()}",
            headers=headers,
            media_type=media_type,
            filename=filename,
            stat_result=os.fstat(file.fileno()),
            content_disposition_type="inline" if inline else "attachment",
        )
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._file:
            await super().__call__(scope, receive, send)
