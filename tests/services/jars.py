"""Java, and the jars of Kafka and the registry: looked for here, fetched once by Maven into a cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from tests.services.processes import Missing

POM = Path(__file__).with_name("pom.xml")
_INSTALLED = ("/usr/lib/jvm/*", "/Library/Java/JavaVirtualMachines/*/Contents/Home", "/opt/java/*")


def version(part: str) -> str:
    """Return the version of ``kafka`` or ``registry`` that the pom names."""
    found = ET.parse(POM).getroot().find(f".//{{*}}{part}.version")  # noqa: S314 -- our own file
    assert found is not None
    assert found.text
    return found.text


def java(oldest: int, part: str, how: str) -> Path:
    """Return a Java of at least *oldest*: JAVA_HOME's, the PATH's, else an installed one; Missing if none."""
    seen = []
    for program in _javas():
        number = _java_version(program)
        if number >= oldest:
            return program
        seen.append(f"{program} is {number or 'none'}")
    raise Missing(f"{part}: needs Java {oldest} or newer ({how}{'; ' if seen else ''}{', '.join(seen)})")


def _javas() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if found := shutil.which("java"):
        yield Path(found)
    for pattern in _INSTALLED:
        yield from sorted(home / "bin" / "java" for home in Path("/").glob(pattern[1:]) if not home.is_symlink())


def _java_version(program: Path) -> int:
    """Return its feature release, 0 if it is none; from its ``release`` file where there is one."""
    release = program.resolve().parent.parent / "release"
    try:
        said = release.read_text() if release.exists() else _asked(program)
    except OSError:
        return 0
    found = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', said)
    return int(found[1]) if found else 0


def _asked(program: Path) -> str:
    return subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr


def fetched(part: str, why: str) -> Path:
    """Return the folder with the files of ``kafka`` or ``registry``; fetches them the first time, Missing if it cannot.

    Several processes may ask at once: one fetches, the others wait for it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ordering-services"
    state = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
    folder = cache / f"{part}-{version(part)}-{state}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise Missing(why)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{part}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{part}-", dir=cache) as temporary:
                _fetch(maven, part, Path(temporary, part), why)
                Path(temporary, part).rename(folder)
    return folder


def _fetch(maven: str, part: str, folder: Path, why: str) -> None:
    words = ["-q", "-B", "-f", str(POM), "-P", part, "dependency:copy-dependencies", "-DincludeScope=runtime"]
    done = subprocess.run(
        [maven, *words, f"-DoutputDirectory={folder}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = next((line for line in done.stdout.splitlines() if "ERROR" in line), "no reason given")
        raise Missing(f"{why}; Maven could not fetch it: {reason[:200]}")
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        archive.unlink()
