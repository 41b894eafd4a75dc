"""The journal: the append-only file that one process writes; ``journal_reader`` reads it back.

``docs/formats/journal.md`` draws every byte. In short: a header, then records whose sizes are multiples of 8.
The first uint32 of a record, its *head*, has the kind in the two highest bits:

* 0, point: head = series id, then epoch int32, step int64, time int64, value float64 (32 bytes);
* 1, row: head = set id, then epoch, step, time as above and one float64 for each series of the set;
* 2, event: head = payload length, then the payload's crc32, the payload (JSON), zeros up to a multiple of 8.

A head of 0 is never written, so that zeros left by a power cut are not taken for points.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from frameworm.experiment.config import dump_json
from frameworm.experiment.errors import StateError, tell

MAGIC = b"\x93FWJ\r\n\x1a\n"
VERSION = 1
HEADER_SIZE = 16
POINT = struct.Struct("<Iiqqd")
POINT_SIZE = POINT.size
ROW_PREFIX_SIZE = 24
MAX_ID = 2**30 - 1
ROW_FLAG = 1 << 30
EVENT_FLAG = 2 << 30
MAX_EVENT_SIZE = 2**30 - 1

PENDING_LIMIT = 256 * 2**20
"""Bytes kept in memory while the disk refuses writes; beyond it points are dropped, counted and told."""

EVENT_PREFIX = b'{"t":'
"""What every event's payload starts with."""

_BLOCK = 512
_NAME = re.compile(r"(?P<kind>journal|metrics)-(?P<host>.+)-(?P<pid>\d+)-(?P<n>\d+)(?:\.seg)?\Z")


class WriterName(NamedTuple):
    """What the file names of a journal and of its segment say; tuples sort in reading order."""

    n: int
    host: str
    pid: int

    @property
    def journal(self) -> str:
        """File name of the journal."""
        return f"journal-{self.host}-{self.pid}-{self.n}"

    @property
    def segment(self) -> str:
        """File name of the segment it is sealed to."""
        return f"metrics-{self.host}-{self.pid}-{self.n}.seg"

    @classmethod
    def parse(cls, file_name: str) -> WriterName | None:
        """Return what a file name in ``logs/`` says, or None if it is neither journal nor segment."""
        match = _NAME.match(file_name)
        if match is None or (match["kind"] == "metrics") != file_name.endswith(".seg"):
            return None
        return cls(int(match["n"]), match["host"], int(match["pid"]))


def header() -> bytes:
    """Return the 16 bytes that open a journal."""
    start = MAGIC + struct.pack("<I", VERSION)
    return start + struct.pack("<I", zlib.crc32(start))


def encode_event(event: dict[str, Any]) -> bytes:
    """Return the frame of one event; its key ``t`` (Unix ms) comes first, which lets readers find frames."""
    payload = dump_json(event).encode()
    if not payload.startswith(EVENT_PREFIX):
        raise ValueError(f"an event starts with its time t, got {payload[:40]!r}")
    if len(payload) > MAX_EVENT_SIZE:
        raise ValueError(f"an event holds at most {MAX_EVENT_SIZE} bytes, got {len(payload)}")
    frame = struct.pack("<II", EVENT_FLAG | len(payload), zlib.crc32(payload)) + payload
    return frame + bytes(-len(frame) % 8)


def row_struct(size: int) -> struct.Struct:
    """Return the packer of a row of ``size`` values."""
    return struct.Struct(f"<Iiqq{size}d")


class _File:
    """An open journal file, and how much of it is known to be on the disk."""

    __slots__ = ("doubtful", "fd", "name", "synced")

    def __init__(self, fd: int, name: WriterName) -> None:
        self.fd = fd
        self.name = name
        self.synced = 0
        self.doubtful = False

    @property
    def size_bytes(self) -> int:
        return os.fstat(self.fd).st_size

    def sync(self, path: Path, lock: threading.RLock) -> None:
        """Put the file on the disk; ``lock`` keeps it from being cut meanwhile.

        The kernel reports once that it could not write something, and then takes it for written: a second fsync
        would succeed and promise what is not so. So after a failure everything in doubt is written once more.
        Source: Rebello et al., Can Applications Recover from fsync Failures?, USENIX ATC 2020.
        """
        size = self.size_bytes
        try:
            if self.doubtful:
                with lock:
                    self._write_again(path)
            os.fsync(self.fd)
        except OSError:
            self.doubtful = True
            raise
        self.doubtful, self.synced = False, size

    def _write_again(self, path: Path) -> None:
        plain = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # a file open for appending only appends
        try:
            if not os.path.samestat(os.fstat(plain), os.fstat(self.fd)):
                raise FileNotFoundError(errno.ENOENT, "The journal was moved away", str(path))
            at, end = self.synced, self.size_bytes
            while at < end:
                at += os.pwrite(plain, os.pread(self.fd, min(1 << 20, end - at), at), at)
        finally:
            os.close(plain)


class JournalWriter:
    """The journal that one process writes, open for appending; one file after the other when it rotates.

    Any thread may call any method. When ``append`` returns, the bytes are with the kernel: SIGKILL loses nothing.
    ``sync`` puts them on the disk. When the disk refuses (full, gone, error) records wait in memory, one
    warning is given, and they are written, in order, as soon as the disk takes them again.

    ``slot`` is a descriptor whose number never changes: whole records may be written to it with one ``os.write``
    and without a lock, which would cost 0.15 µs of a microsecond; the kernel keeps appended records apart. What a
    write of a moment ago may still be going to is therefore never closed, but replaced (``dup2``): by the next
    file when the journal rotates, by ``/dev/null``, open for reading only, while the disk refuses and after the
    end. ``lock`` is for everything else; it is public so that a caller can hold it around its own state and a write.
    """

    def __init__(self, logs_dir: Path, host: str, preamble: Callable[[], bytes], *, after: int = 0) -> None:
        """Create the next journal in ``logs_dir``, numbered past ``after`` and all that are there.

        Args:
            logs_dir: folder of the experiment's journals.
            host: name of this machine, as it is to stand in the file name.
            preamble: gives the records that every file of this writer starts with: who writes, and all
                series and sets declared so far, so that each can be read without the others.
            after: the new journal's number is larger than this.

        Raises:
            OSError: the file cannot be created.
        """
        self.lock = threading.RLock()
        self.logs_dir = logs_dir
        self.pid = os.getpid()
        # Held while _file is replaced or put on the disk; taken before ``lock``, never while that is held. Reentrant: a
        # signal that ends the experiment may come during a flush().
        self._syncing = threading.RLock()
        self._preamble = preamble
        self._host = host
        self._pending = bytearray()
        self._dropped = 0
        self._failed: OSError | None = None  # why records wait in memory
        self._closed = False
        self._file: _File | None = None  # None when the disk refuses so that the next file is needed
        self._left: list[_File] = []  # not written any more, and not known to be on the disk
        self.slot = -1
        numbers = [w.n for w in map(WriterName.parse, os.listdir(logs_dir)) if w is not None]
        self._create(max([after, *numbers]) + 1)
        self.slot = os.dup(self._open_file.fd)

    @property
    def _open_file(self) -> _File:
        if self._file is None:
            raise OSError(errno.EBADF, "No journal is open", str(self.path))
        return self._file

    def _create(self, n: int) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_RDWR | os.O_CLOEXEC
        while True:
            name = WriterName(n, self._host, self.pid)
            try:
                fd = os.open(self.logs_dir / name.journal, flags, 0o666)
                break
            except FileExistsError:
                n += 1
        start = header() + self._preamble()
        try:
            if os.write(fd, start) != len(start):
                raise OSError(errno.ENOSPC, "No space left on device", str(self.logs_dir / name.journal))
        except OSError:
            # An empty journal would count as one that somebody writes.
            os.close(fd)
            (self.logs_dir / name.journal).unlink(missing_ok=True)
            raise
        self._file, self.name = _File(fd, name), name
        self._checked = HEADER_SIZE

    @property
    def path(self) -> Path:
        """Where the journal lies."""
        return self.logs_dir / self.name.journal

    def append(self, record: bytes) -> None:
        """Append one whole record or event frame; never raises for what the disk does."""
        with self.lock:
            try:
                written = os.write(self.slot, record)
            except OSError as error:
                self.refused(record, 0, error)
                return
            if written != len(record):
                self.refused(record, written, None)

    def refused(self, record: bytes, written: int, error: OSError | None) -> None:
        """Keep a record of which the disk took only ``written`` bytes.

        Raises:
            StateError: the journal is closed.
        """
        with self.lock:
            if self._closed:
                raise StateError(f"{self.path} is closed")
            if self._failed is None:
                if error is not None and error.errno == errno.EBADF:
                    # The slot refused a moment ago and does so no more, or somebody closed it: not the disk's fault.
                    try:
                        written, error = os.write(self._open_file.fd, record), None
                    except OSError as second:
                        error = second
                    if written == len(record):
                        return
                self._failed = error or OSError(errno.ENOSPC, "No space left on device")
                os.dup2(_nowhere(), self.slot, inheritable=False)
                tell(
                    f"{self.path}: cannot be written ({self._failed}); training goes on, points wait in memory "
                    f"(up to {PENDING_LIMIT >> 20} MiB) until the disk takes them"
                )
            if written:  # also where another thread's record was cut short before
                self._cut(record[:written])
            if len(self._pending) + len(record) > PENDING_LIMIT:
                self._dropped += 1
            else:
                self._pending += record

    def _cut(self, torn: bytes) -> None:
        """Take the beginning of a record out of the file again, so that what follows stays aligned.

        Only this process writes here; another thread may have appended whole records since.
        """
        try:
            file = self._open_file
            size = file.size_bytes
            start = max(HEADER_SIZE, size - (1 << 20))
            tail = os.pread(file.fd, size - start, start)
            found = found_last = tail.rfind(torn)
            # Many records may begin with the same bytes. If nothing was written since, it is the file's end; else the
            # disk was full, which takes whole blocks: of the places that look so, the one that ends with a block.
            while found >= 0 and not tail.endswith(torn) and (start + found + len(torn)) % _BLOCK:
                found = tail.rfind(torn, 0, found + len(torn) - 1)
            if found_last < 0:
                raise OSError(errno.EIO, "the beginning of a record is lost", str(self.path))
            at = start + (found if found >= 0 else found_last)
            later = os.pread(file.fd, size - at - len(torn), at + len(torn))
            if later:
                plain = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)  # a file open for appending only appends
                os.pwrite(plain, later, at)
                os.close(plain)
            os.ftruncate(file.fd, at + len(later))
        except OSError as error:
            # The torn record has to stay the file's last: go on in a new journal.
            self._failed = error
            self._leave()

    def _leave(self) -> None:
        if self._file is not None:
            self._left.append(self._file)
        self._file = None

    @property
    def pending(self) -> int:
        """Bytes that wait in memory for the disk."""
        return len(self._pending)

    def retry(self) -> bool:
        """Write what waits in memory; return whether nothing waits any more."""
        with self.lock:
            if self._failed is None or self._closed:
                return True
            data, done = bytes(self._pending), 0
            try:
                if self._file is None:
                    self._create(self.name.n + 1)
                file = self._open_file
                size = file.size_bytes
                while done < len(data):
                    done += os.write(file.fd, memoryview(data)[done:])
            except OSError as error:
                self._failed = error
                if done:
                    try:
                        os.ftruncate(file.fd, size)  # nobody else writes while the disk refuses
                    except OSError:
                        self._leave()
                return False
            self._pending.clear()
            self._failed = None
            os.dup2(file.fd, self.slot, inheritable=False)
            if self._dropped:
                tell(f"{self.path}: {self._dropped} records were dropped while the disk refused writes")
                self.append(encode_event({"t": now_ms(), "type": "dropped", "records": self._dropped}))
                self._dropped = 0
            return True

    def sync(self) -> None:
        """Put all that was appended on the disk.

        Raises:
            OSError: what waits in memory could not be written, or the disk did not confirm.
        """
        with self._syncing:
            if not self.retry():
                assert self._failed is not None
                what = f"{self._failed.strerror}; {self.pending} bytes wait in memory"
                raise OSError(self._failed.errno, what, str(self.path))
            while self._left:
                file = self._left[0]
                file.sync(self.logs_dir / file.name.journal, self.lock)
                os.close(file.fd)
                del self._left[0]
            if self._file is not None:
                self._file.sync(self.path, self.lock)

    def check(self) -> None:
        """Append a checksum of the bytes since the last one, read back from the file."""
        with self._syncing:
            if self._failed is not None or self._file is None:
                return
            file, start, end = self._file.fd, self._checked, self.size_bytes()
            crc, offset = 0, start
            while offset < end:
                piece = os.pread(file, min(1 << 20, end - offset), offset)
                if not piece:
                    return
                crc = zlib.crc32(piece, crc)
                offset += len(piece)
            if start < end:
                event = encode_event({"t": now_ms(), "type": "check", "from": start, "to": end, "crc": crc})
                # The event has a checksum of its own: counting it as unchecked would make an idle journal grow.
                alone = self.size_bytes() == end
                self.append(event)
                self._checked = end + len(event) if alone else end

    def follow(self) -> Path | None:
        """Return the folder where the file lies now, whoever moved it; None if it was deleted or cannot be told.

        When this is another folder than ``logs_dir``, further files are made there.
        """
        if self._file is None:
            return self.logs_dir
        held = os.fstat(self._file.fd)
        for _ in range(3):  # it may be moved this moment, between two of our looks
            places = [self.path]
            with contextlib.suppress(OSError):  # there is a /proc on Linux only
                places.append(Path(os.readlink(f"/proc/self/fd/{self._file.fd}")))
            for path in places:
                with contextlib.suppress(OSError):
                    if os.path.samestat(held, os.stat(path)):
                        self.logs_dir = path.parent
                        return self.logs_dir
        return None

    def rescue(self) -> None:
        """Put what waits in memory, for good reason of the disk, into a journal elsewhere, and say where."""
        with self.lock:
            if not self._pending:
                return
            import tempfile

            data = header() + self._preamble() + self._pending
            name = self.name._replace(n=self.name.n + 1).journal
            for place in (tempfile.gettempdir(), "/dev/shm"):
                folder = Path(place) / f"frameworm-{os.urandom(4).hex()}"
                try:
                    folder.mkdir(mode=0o700)
                    (folder / name).write_bytes(data)
                except OSError:
                    continue
                tell(
                    f"{self.path}: cannot be written ({self._failed}); the last {len(self._pending)} bytes are in "
                    f"{folder / name}. When the disk takes them: mv {folder / name} {self.logs_dir}/ && "
                    f"frameworm doctor --repair --root-dir {self.logs_dir.parent.parent}"
                )
                self._pending.clear()
                return
            tell(f"{self.path}: cannot be written ({self._failed}); the last {len(self._pending)} bytes are lost")

    def size_bytes(self) -> int:
        """Size of the file."""
        with self._syncing:  # it is not closed meanwhile
            return self._file.size_bytes if self._file is not None else 0

    def rotate(self, last: bytes) -> WriterName | None:
        """Go on in a new file; return the name of the old one, or None if nothing was done.

        Args:
            last: event frame that closes the old file.

        Raises:
            OSError: the new file cannot be made; writing goes on in the old one.
        """
        with self._syncing, self.lock:
            if self._failed is not None or self._closed:
                return None
            old = self._open_file
            self._create(old.name.n + 1)
            os.dup2(self._open_file.fd, self.slot, inheritable=False)
            with contextlib.suppress(OSError):  # readers can do without it
                os.write(old.fd, last)
            self._left.append(old)
            return old.name

    def close(self) -> None:
        """Close the file; nothing can be appended afterwards."""
        with self._syncing, self.lock:
            self._closed = True
            self._leave()
            self._close_left()
            if threading.active_count() == 1:
                os.close(self.slot)
                self.slot = -1
            elif self.slot >= 0:
                # Another thread may be about to write: the number must not become another file's.
                os.dup2(_nowhere(), self.slot, inheritable=False)

    def _close_left(self) -> None:
        for file in self._left:
            os.close(file.fd)
        self._left.clear()

    def __del__(self) -> None:
        if getattr(self, "slot", -1) >= 0 and os.getpid() == self.pid:
            self._leave()
            self._close_left()
            os.close(self.slot)


@functools.cache
def _nowhere() -> int:
    """Return a descriptor that refuses every write with EBADF."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def sync_file(path: Path) -> None:
    """Put a file that nobody writes any more on the disk.

    Raises:
        OSError: the disk did not confirm.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def now_ms() -> int:
    """Return the wall clock in Unix milliseconds, UTC."""
    return time.time_ns() // 1_000_000
