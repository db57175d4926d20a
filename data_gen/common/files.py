"""Files that are whole or absent, written by one process at a time, and told in one sentence when they cannot be."""

import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_gen.common.errors import DatasetError, InputError

# Disk full, quota used up, file larger than allowed: libraries in C++ tell these only in words.
NO_ROOM = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def temporary_name(path: Path) -> Path:
    """A name beside `path` that no other process uses; `*.tmp` is what a killed one leaves."""
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file its name, so that after a power cut it is whole or absent."""
    for place in (temporary, path.parent):
        if place is not temporary:
            temporary.replace(path)
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write atomically: the file is the old one or the new one, never half of either."""
    temporary = temporary_name(path)
    try:
        temporary.write_text(json.dumps(content, indent=1))
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file. Raises `DatasetError` if the file is damaged."""
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError, FileNotFoundError) as error:
        raise DatasetError(f"{path} is missing or not readable JSON ({error}). Restore it, or make it anew.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds no JSON object. Restore it, or make it anew.")
    return content


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """The keys in which two configs differ, as `key: theirs -> ours`."""
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    return "; ".join(f"{key}: {theirs.get(key)} -> {ours.get(key)}" for key in keys)


def holds_files(folder: Path) -> bool:
    """Whether there is anything in `folder` but what a killed process leaves behind."""
    return folder.exists() and any(file.suffix not in (".tmp", ".lock") for file in folder.iterdir())


@contextmanager
def exclusive(lock: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold `lock` against every other process; the system releases it however its holder ends.

    wait: until it is free; else `InputError` is raised, with its holder. The file is removed at the end. Who waited for
    it then holds a file without a name, sees that, and tries again.
    """
    while True:
        with lock.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                file.seek(0)
                holder = "process " + (" on ".join(file.read().split()) or "unknown")
                raise InputError(
                    f"{lock.parent} is being written by {holder}. Wait for its end, stop it, or choose another folder."
                ) from error
            except OSError as error:
                raise DatasetError(
                    f"{lock} cannot be locked ({error}), so two writers could not be kept apart. Mount that file "
                    "system with locks (NFS: without `nolock`; Lustre: with `flock`), or use a local disk."
                ) from error
            try:
                current = os.path.samestat(os.fstat(file.fileno()), lock.stat())
            except FileNotFoundError:
                current = False
            if not current:
                continue
            try:
                file.truncate(0)
                print(os.getpid(), os.uname().nodename, file=file, flush=True)
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


@contextmanager
def full_disk_is_told(folder: Path) -> Iterator[None]:
    """Turn a write that failed for want of room into a `DatasetError` that says what to do."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not any(reason in str(error) for reason in NO_ROOM):
            raise
        raise DatasetError(
            f"{folder} takes no more data: {error} ({shutil.disk_usage(folder).free / 1e6:.1f} MB are free there). "
            "What was finished stays as it is: make room (or raise the quota or the limit on file sizes), then run "
            "the same command again to go on."
        ) from error
