"""``MediaLog``: the calls of an experiment that record what people look at and listen to, and alerts."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from frameworm.experiment.errors import ExperimentError, InputError, StoreError, tell
from frameworm.experiment.foreign import describe
from frameworm.experiment.recording import media
from frameworm.experiment.recording.histograms import encode_histogram
from frameworm.experiment.recording.media import Medium
from frameworm.experiment.recording.recorder import checked_epoch, checked_name, checked_step, guard
from frameworm.experiment.recording.tables import encode_table
from frameworm.experiment.session import Session, open_reader
from frameworm.experiment.storage.media import store_medium
from frameworm.experiment.texts import checked_text

__all__ = ["MediaLog"]

_LEVELS = ("info", "warning", "error")


class MediaLog(Session):
    """Images, sounds, films, histograms, tables, texts and figures by step; alerts.

    Contents are stored once, however often they are logged. What was logged survives the death of the process at
    once, a power cut when ``flush()`` has returned. If the disk refuses, one warning, and training goes on.
    """

    def _prepare(self, *, strict: bool, capture_console: bool, system_metrics_s: float) -> None:
        super()._prepare(strict=strict, capture_console=capture_console, system_metrics_s=system_metrics_s)
        self._forget_media()

    def _forget_media(self) -> None:
        self._media_lock = threading.Lock()
        self._media_steps: dict[tuple[str, str], int] | None = None
        self._media_unsynced: list[Path] = []  # from the folder on, which may move
        self._media_doubted: set[tuple[str, str]] = set()

    def on_fork(self) -> None:
        """See ``Session``; what the parent stored, the parent puts on the disk."""
        self._forget_media()
        super().on_fork()

    def _run(self, first: Callable[[], None]) -> None:
        self._recorder.every(1.0, self._sync_media)
        super()._run(first)

    def _settle(self) -> None:
        guard(self._sync_media, "putting media on the disk")
        super()._settle()

    def log_image(
        self, name: str, image: Any, step: int | None = None, epoch: int | None = None, metric_type: str = "train",
        *, caption: str = "",
    ) -> None:  # fmt: skip
        """Record a picture.

        Args:
            name: what it shows; ``/`` makes sections.
            image: array or tensor (height, width), (height, width, channels) or (channels, height, width) with 1 to 4
                channels: uint8, bool, or floats from 0 to 1; a PIL image; a matplotlib figure; or the path of a PNG,
                JPEG, GIF or WebP file.
            step: int64; if left out, one more than the last of this name and context, from 0.
            epoch: int32, kept beside the step.
            metric_type: the context: train, val, test, or any other word.
            caption: a line below it.

        Raises:
            InputError: not a picture, or a caption with line ends.
            MetricError: name, step, epoch or metric_type is not allowed.
            StateError: the experiment is not running.
        """
        self._log_medium("image", name, lambda: media.encode_image(image), step, epoch, metric_type, caption)

    def log_audio(
        self, name: str, audio: Any, sample_rate: int | None = None, step: int | None = None, epoch: int | None = None,
        metric_type: str = "train", *, caption: str = "",
    ) -> None:  # fmt: skip
        """Record sound: an array (samples,), (samples, channels) or (channels, samples), or a file.

        Samples are int16, or floats from -1 to 1.

        The others are as for ``log_image``.
        """
        self._log_medium(
            "audio", name, lambda: media.encode_audio(audio, sample_rate), step, epoch, metric_type, caption
        )

    def log_video(
        self, name: str, video: Any, step: int | None = None, epoch: int | None = None, metric_type: str = "train",
        *, fps: float = 10, caption: str = "",
    ) -> None:  # fmt: skip
        """Record a film: an array (frames, height, width[, channels]), pictures, or an MP4, WebM, GIF or WebP file.

        The others are as for ``log_image``.
        """
        self._log_medium("video", name, lambda: media.encode_video(video, fps), step, epoch, metric_type, caption)

    def log_histogram(
        self, name: str, values: Any, step: int | None = None, epoch: int | None = None, metric_type: str = "train",
        *, bins: int = 64,
    ) -> None:  # fmt: skip
        """Record how numbers are distributed: an array of any shape, or what a library's own histogram returned.

        The others are as for ``log_image``.
        """
        self._log_medium("histogram", name, lambda: encode_histogram(values, bins), step, epoch, metric_type, "")

    def log_table(
        self, name: str, table: Any, step: int | None = None, epoch: int | None = None, metric_type: str = "train",
        *, columns: Sequence[str] | None = None, caption: str = "",
    ) -> None:  # fmt: skip
        """Record a table: a DataFrame, dicts, or rows with ``columns``; cells may be pictures.

        The others are as for ``log_image``.
        """

        def encode() -> Medium:
            return encode_table(table, columns, lambda picture: self._keep(picture))

        self._log_medium("table", name, encode, step, epoch, metric_type, caption)

    def log_text(
        self, name: str, text: str, step: int | None = None, epoch: int | None = None, metric_type: str = "train"
    ) -> None:
        """Record a text, such as what a model wrote. The others are as for ``log_image``."""
        self._log_medium("text", name, lambda: media.encode_text(text), step, epoch, metric_type, "")

    def log_figure(
        self, name: str, figure: Any, step: int | None = None, epoch: int | None = None, metric_type: str = "train",
        *, caption: str = "",
    ) -> None:  # fmt: skip
        """Record a figure of matplotlib, as a picture, or of plotly, as its JSON.

        The others are as for ``log_image``.
        """
        self._log_medium("figure", name, lambda: media.encode_figure(figure), step, epoch, metric_type, caption)

    def alert(self, title: str, text: str = "", level: Literal["info", "warning", "error"] = "warning") -> None:
        """Tell whoever watches: the dashboard shows it, and sends it on where that is configured.

        Args:
            title: one line.
            text: more about it.
            level: how grave it is.

        Raises:
            InputError: an argument is not allowed.
            StateError: the experiment is not running.
        """
        recorder = self._sink.ready()
        if level not in _LEVELS:
            raise InputError(f"level: expected {', '.join(_LEVELS)}, got {level!r:.80}")
        if not checked_text(title, "title").strip():
            raise InputError("title: expected a line, got an empty str")
        self._apply(recorder.event("alert", title=title, text=checked_text(text, "text", lines=True), level=level))

    def _log_medium(
        self, kind: str, name: str, encode: Callable[[], Medium], step: Any, epoch: Any, context: str, caption: str
    ) -> None:
        recorder = self._sink.ready()
        name, context = checked_name(name, "name"), checked_name(context, "metric_type")
        step, epoch = checked_step(step), checked_epoch(epoch)
        checked_text(caption, "caption")
        try:
            medium = encode()  # stores the pictures in a table's cells
            about = dict(medium.about)
            if medium.suffix:
                about |= {"digest": self._keep(medium), "suffix": medium.suffix, "size_bytes": len(medium.content)}
        except StoreError as error:
            tell(f"{kind} {name!r} was not stored: {error}; training goes on")
            return
        except ExperimentError:
            raise
        except Exception as error:  # whatever the library raises that made it, or draws it
            raise InputError(f"{kind} {name!r}: {type(error).__name__} while it was read: {describe(error)}") from error
        if medium.doubt and (kind, name) not in self._media_doubted:
            self._media_doubted.add((kind, name))
            tell(f"{kind} {name!r}: {medium.doubt}. It is recorded; said once for this name")
        with self._media_lock:
            if self._media_steps is None:  # an earlier session, or the parent of a fork, may have logged some
                self._media_steps = {}
                with contextlib.suppress(ExperimentError, OSError):  # the folder is gone, or its record damaged
                    for item in open_reader(self._exp_dir).media():
                        self._media_steps[item["name"], item["context"]] = item["step"]
            if step is None:
                step = self._media_steps.get((name, context), -1) + 1
            self._media_steps[name, context] = step
        if caption:
            about["caption"] = caption
        recorder.event("media", media=kind, name=name, context=context, step=step, epoch=epoch, about=about)

    def _keep(self, medium: Medium) -> str:
        digest, written = store_medium(medium.content, medium.suffix, place := self._place())
        if written is not None:
            with self._media_lock:
                self._media_unsynced.append(written.relative_to(place))
        return digest

    def _sync_media(self) -> None:
        """Put the contents stored so far on the disk.

        Raises:
            OSError: the disk refused; they are tried again.
        """
        with self._media_lock:
            unsynced, self._media_unsynced = self._media_unsynced, []
        try:
            while unsynced:
                _fsync(self._place() / unsynced[-1])
                unsynced.pop()
        except StoreError:
            unsynced.clear()  # removed with the folder, which is told of
        finally:
            with self._media_lock:
                self._media_unsynced += unsynced


def _fsync(path: Path) -> None:
    for one in (path, path.parent):
        try:
            fd = os.open(one, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # deleted since, with all of the experiment
            continue
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
