"""Write files so that they are complete or absent, lock them against other processes, and explain a full disk."""

import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from data_gen.common.errors import DatasetError, InputError

# Disk full, quota used up, file larger than allowed: C++ libraries report these only as text.
NO_ROOM = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))

NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)  # of a file system that has none


def temporary_name(path: Path) -> Path:
    """Choose a name in the same folder that no other process uses; killed processes leave files `*.tmp`.

    Args:
        path: Final path of the file.

    Returns:
        Path for writing the file.
    """
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file its name, so that after a power cut it is complete or absent.

    Args:
        temporary: Path at which the file was written.
        path: Final path of the file.
    """
    for place in (temporary, path.parent):
        if place is not temporary:
            temporary.replace(path)
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: at any time it is either the old file or the new one.

    Args:
        path: Path of the file.
        content: Content.

    Raises:
        DatasetError: If the disk is full.
    """
    temporary = temporary_name(path)
    try:
        with explain_full_disk(path.parent):
            temporary.write_bytes(content)
            publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 atomically; see `write_bytes`.

    Args:
        path: Path of the file.
        text: Content.

    Raises:
        DatasetError: If the disk is full.
    """
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically: at any time it is either the old file or the new one.

    Args:
        path: Path of the file.
        content: Content that `json` can encode.
    """
    write_text(path, json.dumps(content, indent=1))


def write_json_once(path: Path, content: Any) -> bool:
    """Write a JSON file unless there is one, so that of several processes one writes it.

    Args:
        path: Path of the file.
        content: Content that `json` can encode.

    Returns:
        Whether it was written.
    """
    temporary = temporary_name(path)
    try:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.link(temporary, path)  # unlike a rename it replaces nothing
        publish(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        if path.exists():
            return False
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def refuse_folders(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder in which other folders stand where files are going to be written.

    Args:
        folder: The folder, which may not exist.
        names: Names of the files.

    Raises:
        InputError: If there is such a folder.
    """
    if found := [name for name in names if (folder / name).is_dir()]:
        raise InputError(f"{folder / found[0]} is a folder, where a file is to be written. Remove it.")


def refuse_links(folder: Path) -> None:
    """Refuse a folder with links in it, through which files elsewhere would be overwritten.

    The folder itself may be a link, such as to a disk for results.

    Args:
        folder: The folder, which may not exist.

    Raises:
        InputError: If there is a link, other than those that W&B makes.
    """
    for place, folders, files in os.walk(folder):  # follows no links, and bears what another process removes meanwhile
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink():
                raise InputError(
                    f"{path} is a link to {os.path.realpath(path)}: what is written there would change a file there. "
                    "Remove the link, or choose another folder; the folder itself may be a link."
                )
        folders[:] = [name for name in folders if name != "wandb"]


def read_json(path: Path) -> dict[str, Any]:
    """Read an object from a JSON file.

    Args:
        path: Path of the file.

    Returns:
        The object.

    Raises:
        DatasetError: If the file is missing or damaged, or holds no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, FileNotFoundError) as error:
        raise DatasetError(
            f"{path} is missing or not readable JSON ({error}). Restore it, or make it again."
        ) from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds no JSON object. Restore it, or make it again.")
    return content


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give the values of nested dictionaries dotted keys.

    Args:
        values: Dictionary, which may hold others.
        prefix: Text before every key, such as `data.`.

    Returns:
        The values that are no dictionaries, by dotted key.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read a file of rows of JSON, each of which has a step; a full disk or a power cut may have damaged some.

    Args:
        path: Path of the file, which may not exist.

    Yields:
        The text of each row that is sound, and its content: numbers by name.
    """
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        with suppress(json.JSONDecodeError):
            row = json.loads(line)
            known = isinstance(row, dict) and isinstance(row.get("step"), int)
            if known and all(isinstance(value, int | float) for value in row.values()):
                yield line, row


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Describe the keys in which two configs differ, as `key: theirs -> ours`.

    Args:
        ours: One config.
        theirs: The config to compare with.

    Returns:
        The description, empty if the configs are equal.
    """
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    return "; ".join(f"{key}: {theirs.get(key)} -> {ours.get(key)}" for key in keys)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless it exists.

    Args:
        folder: Path of the folder.

    Raises:
        InputError: If a file is in the way, or the folder may not be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if any(reason in str(error) for reason in NO_ROOM):
            raise
        raise InputError(
            f"{folder} cannot be a folder ({error.strerror}: {error.filename}). Choose another path, or remove what is "
            "in the way."
        ) from error


def existing_folder(path: Path) -> Path:
    """Find the folder on whose disk a path is or will be.

    Args:
        path: Path, which may not exist.

    Returns:
        The path itself if it is a folder, or the first of its parents that is one.
    """
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Make a folder on the disk of another one, next to it or to the first of its parents that exists; remove it again.

    Args:
        target: Folder on that disk, which may not exist.

    Yields:
        The folder.
    """
    place = existing_folder(target.absolute().parent)
    with TemporaryDirectory(prefix="dry-run-", suffix=".tmp", dir=place) as folder:
        yield Path(folder)


def holds_files(folder: Path, *, besides: str | None = None) -> bool:
    """Tell whether a folder contains any file other than those that a killed process leaves.

    Args:
        folder: The folder, which may not exist.
        besides: Name of a folder in it that does not count.

    Returns:
        True if it contains such a file.

    Raises:
        InputError: If there is a file of that name instead of a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, where a folder is expected. Choose another path.")
    return folder.exists() and any(
        file.suffix not in (".tmp", ".lock") and file.name != besides for file in folder.iterdir()
    )


@contextmanager
def exclusive(lock: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock against every other process; the system releases the lock however its holder ends.

    The lock file is removed at the end. A waiting process then holds a lock on a deleted file; it notices and retries.

    Args:
        lock: Path of the lock file.
        wait: Whether to wait until the lock is free.

    Raises:
        InputError: If another process holds the lock and `wait` is False; the message names the holder. Or if the lock
            file is a link.
        DatasetError: If the file system has no locks.
    """
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise InputError(f"{lock} is a link, which no lock is. Remove it.") from error
            raise
        with os.fdopen(descriptor, "a+", encoding="utf-8") as file:
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


def check_room(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: Folder that is to be written to; it exists.
        needed: Size of what is to be written [bytes].

    Raises:
        DatasetError: If less is free.
    """
    usage = shutil.disk_usage(folder)
    free = usage.free if usage.total else needed  # some file systems do not tell
    if free < needed:
        raise DatasetError(
            f"{folder} takes no more data: {needed / 1e6:.1f} MB are to be written, but {free / 1e6:.1f} MB are free "
            "there. Finished files stay. Free some space, then run the same command again to resume."
        )


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Replace the error of a write that found no space by a `DatasetError` with a remedy.

    Args:
        folder: Folder that is written to.

    Raises:
        DatasetError: If the disk or quota is full, or a file is larger than allowed.
    """
    try:
        yield
    except Exception as error:  # libraries have many errors for it
        reason = next((reason for reason in NO_ROOM if reason in str(error)), None)
        if reason is None or isinstance(error, DatasetError):
            raise
        there = existing_folder(folder)
        raise DatasetError(
            f"{folder} takes no more data: {reason} ({shutil.disk_usage(there).free / 1e6:.1f} MB are free there). "
            "Finished files stay. Free some space (or raise the quota or the limit on file sizes), then run the same "
            "command again to resume."
        ) from error
