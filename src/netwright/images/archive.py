"""Archives of data sets, unpacked with care: nothing outside the folder, nothing without bounds."""

import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

#: How the name of an archive ends.
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_BLOCK = 1 << 20


def unpacked(path: str | Path, *, max_bytes: int = 1 << 36, max_files: int = 2_000_000) -> Path:
    """Return the folder that an archive holds, unpacking it beside itself the first time.

    The folder has the archive's name without its ending; if all that is in it is one folder, that
    one is returned. It appears when it is complete, so that an end in between leaves nothing. What
    is no archive by its name is returned as it is.

    Only files and folders are unpacked. A link, a device, a name that leads out of the folder, or
    more than the limits is an error.

    Args:
        path: A tar file, compressed or not, or a zip file; or anything else.
        max_bytes: Of all files together.
        max_files: Number of files and folders.

    Raises:
        FileNotFoundError: If there is no such archive.
        OSError: If the disk is full, or the folder of the archive cannot be written to.
        ValueError: If it is damaged, or holds what no data set does.
    """
    archive = Path(path)
    ending = next((end for end in SUFFIXES if archive.name.lower().endswith(end)), None)
    if ending is None or archive.is_dir():
        return archive
    target = archive.with_name(archive.name[: -len(ending)])
    if not target.is_dir():
        if not archive.is_file():
            raise FileNotFoundError(f"there is no archive {archive}")
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=archive.parent))
        try:
            bounds = _Bounds(archive, partial, max_bytes, max_files)
            (_unzip if ending == ".zip" else _untar)(archive, bounds)
            partial.chmod(0o755)
            partial.rename(target)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise ValueError(f"{archive} is damaged ({error}): get it anew") from error
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    inside = [found for found in target.iterdir() if not found.name.startswith(".")]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else target


class _Bounds:
    """Where files may go, and how much."""

    def __init__(self, archive: Path, root: Path, max_bytes: int, max_files: int) -> None:
        self.archive, self.root = archive, root
        self.bytes, self.files = max_bytes, max_files
        self.limits = f"{max_files:,} files or {max_bytes:,} bytes"

    def place(self, name: str) -> Path:
        """Return where a file or folder of that name goes; it counts.

        Raises:
            ValueError: If that is outside the folder, or there are too many.
        """
        self.files -= 1
        self.spend(0)
        parts = PurePosixPath(name).parts
        if ".." in parts or name.startswith("/") or "\\" in name or ":" in name or "\0" in name:
            raise ValueError(f"{self.archive} has the name {name!r}, which leads out of it")
        return self.root.joinpath(*parts)

    def spend(self, count: int) -> None:
        """Count bytes.

        Raises:
            ValueError: If they are too many.
        """
        self.bytes -= count
        if self.bytes < 0 or self.files < 0:
            raise ValueError(f"{self.archive} holds more than {self.limits}")

    def copy(self, read: Callable[[int], bytes], target: Path) -> None:
        """Write a file, block by block, so that a size that lies cannot fill the disk."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while block := read(_BLOCK):
                self.spend(len(block))
                file.write(block)


def _untar(archive: Path, bounds: _Bounds) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            target = bounds.place(member.name)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            source = tar.extractfile(member) if member.isreg() else None
            if source is None:
                raise ValueError(f"{archive} has {member.name!r}, neither a file nor a folder")
            with source:
                bounds.copy(source.read, target)


def _unzip(archive: Path, bounds: _Bounds) -> None:
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            target = bounds.place(member.filename)
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG) or member.flag_bits & 1:
                raise ValueError(f"{archive} has {member.filename!r}, which is no plain file")
            with zipped.open(member) as source:
                bounds.copy(source.read, target)
