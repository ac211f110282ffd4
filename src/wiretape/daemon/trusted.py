"""What a command was told to trust before: the certificates that its environment and its programs' settings name.

They go into the bundle that replaces those files, and the recorder trusts servers that have them: what a program could
reach, it still can. Settings that cannot be read name nothing, as the program could not read them either.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final

from wiretape.daemon.environment import BUNDLE_VARIABLES, EXTRA_VARIABLES
from wiretape.tls.roots import certificates_in, pem_certificates

_FOLDER_VARIABLES: Final = ("SSL_CERT_DIR", "GIT_SSL_CAPATH")
_NPM_SETTING: Final = re.compile(r"^[ \t]*(cafile|ca|ca\[\])[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_NPM_VARIABLE: Final = re.compile(r"\$\{([^}]+)\}")
CURL_SETTING: Final = re.compile(r"^[ \t]*-{0,2}(cacert|capath)(?:[ \t]*[=:][ \t]*|[ \t]+)(.*?)[ \t]*$", re.MULTILINE)
"""A line of .curlrc that names what to trust."""
WGET_SETTING: Final = re.compile(
    r"^[ \t]*(ca[-_]?certificate|ca[-_]?directory)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE
)
"""A line of .wgetrc that names what to trust."""
_GIT_SECONDS: Final = 5.0


def trusted_before(environ: Mapping[str, str], words: Sequence[str], folder: Path) -> list[bytes]:
    """Return the certificates, each one PEM block, without doubles.

    Args:
        environ: the environment that the command would have had.
        words: the command and its arguments, which may name npm's settings.
        folder: where the command runs.
    """
    found: dict[bytes, None] = {}
    for path in _named_paths(environ, words, folder):
        found.update(dict.fromkeys(certificates_in(_files_at(path))))
    for text in _inline(environ, words, folder):
        found.update(dict.fromkeys(pem_certificates(text)))
    return list(found)


def curl_settings(environ: Mapping[str, str]) -> Path | None:
    """Return the .curlrc that curl reads, None where there is none."""
    places = [Path(environ[name]) for name in ("CURL_HOME", "XDG_CONFIG_HOME", "HOME") if environ.get(name)]
    candidates = [place / name for place in places for name in (".curlrc", "curlrc")]
    return next((path for path in candidates if path.is_file()), None)


def wget_settings(environ: Mapping[str, str]) -> Path | None:
    """Return the file of settings that wget reads for its user, None where there is none."""
    path = Path(environ["WGETRC"]) if environ.get("WGETRC") else _home(environ) / ".wgetrc"
    return path if path.is_file() else None


def read_settings(path: Path | None) -> str:
    """Return the text of a file of settings; nothing where it cannot be read."""
    if path is not None:
        with contextlib.suppress(OSError):
            return path.read_text(encoding="utf-8", errors="surrogateescape")
    return ""


def _named_paths(environ: Mapping[str, str], words: Sequence[str], folder: Path) -> Iterator[Path]:
    for name, value in environ.items():
        if value and (name in BUNDLE_VARIABLES or name in EXTRA_VARIABLES or name.lower() == "npm_config_cafile"):
            yield folder / value
    for name in _FOLDER_VARIABLES:
        yield from (folder / part for part in environ.get(name, "").split(os.pathsep) if part)
    for text in _npm_settings(environ, words, folder):
        for setting, value in _NPM_SETTING.findall(text):
            if setting == "cafile":
                yield folder / _expanded(_unquoted(value), environ)
    yield from (folder / _expanded(value, environ) for value in _options(words, "--cafile"))
    yield from _of_pip(environ)
    yield from _of_git(environ, folder)
    yield from _of_cargo(environ)
    for pattern, settings in ((CURL_SETTING, curl_settings(environ)), (WGET_SETTING, wget_settings(environ))):
        for _, value in pattern.findall(read_settings(settings)):
            yield folder / _unquoted(value)


def _inline(environ: Mapping[str, str], words: Sequence[str], folder: Path) -> Iterator[bytes]:
    """Yield the certificates that stand in npm's settings themselves, their line ends written as ``\\n``."""
    for text in _npm_settings(environ, words, folder):
        for setting, value in _NPM_SETTING.findall(text):
            if setting != "cafile":
                yield _unquoted(value).replace("\\n", "\n").encode("utf-8", "replace")


def _npm_settings(environ: Mapping[str, str], words: Sequence[str], folder: Path) -> Iterator[str]:
    given = {name.lower(): value for name, value in environ.items() if name.lower().startswith("npm_config_")}
    users = [*_options(words, "--userconfig"), given.get("npm_config_userconfig", "")]
    globals_ = [*_options(words, "--globalconfig"), given.get("npm_config_globalconfig", "")]
    yield read_settings(folder / next(filter(None, users), str(_home(environ) / ".npmrc")))
    for path in filter(None, [*globals_, "/usr/etc/npmrc", "/usr/local/etc/npmrc", "/etc/npmrc"]):
        yield read_settings(folder / path)
    for place in (folder, *folder.parents):
        yield read_settings(place / ".npmrc")


def _options(words: Sequence[str], name: str) -> Iterator[str]:
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if word == name and following:
            yield following
        elif word.startswith(f"{name}="):
            yield word.partition("=")[2]


def _of_pip(environ: Mapping[str, str]) -> Iterator[Path]:
    home = _home(environ)
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    files += [Path(environ[name]) for name in ("PIP_CONFIG_FILE",) if environ.get(name)]
    files += [Path(environ[name]) / "pip.conf" for name in ("VIRTUAL_ENV",) if environ.get(name)]
    for file in files:
        parser = configparser.RawConfigParser(strict=False)
        with contextlib.suppress(OSError, UnicodeError, configparser.Error):
            parser.read(file)
        for section in parser.sections():
            if value := parser.get(section, "cert", fallback=""):
                yield Path(value)


def _of_git(environ: Mapping[str, str], folder: Path) -> Iterator[Path]:
    """Ask git, which knows its own rules of what includes what."""
    git = shutil.which("git", path=environ.get("PATH"))
    if git is None:
        return
    command = [git, "config", "--null", "--type=path", "--get-regexp", r"^http\.(.*\.)?sslca(info|path)$"]
    for place in (folder, Path("/")):  # in a repository of somebody else git reads no settings of it, but says so
        try:
            done = subprocess.run(
                command, cwd=place, env=dict(environ), capture_output=True, timeout=_GIT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return
        for entry in done.stdout.split(b"\0"):
            _, _, value = entry.partition(b"\n")
            if value:
                yield folder / os.fsdecode(value)
        if done.returncode <= 1:  # 1: there is no such setting
            return


def _of_cargo(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ["CARGO_HOME"]) if environ.get("CARGO_HOME") else _home(environ) / ".cargo"
    for name in ("config.toml", "config"):
        try:
            value = tomllib.loads(read_settings(home / name)).get("http", {}).get("cainfo")
        except (tomllib.TOMLDecodeError, AttributeError):
            continue
        if isinstance(value, str):
            yield home.parent / value  # relative to the folder that holds .cargo


def _files_at(path: Path) -> Iterable[Path]:
    """Return a file, or all files of a folder."""
    with contextlib.suppress(OSError):
        return sorted(path.iterdir()) if path.is_dir() else [path]
    return []


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or "/nonexistent")


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _expanded(value: str, environ: Mapping[str, str]) -> str:
    value = _NPM_VARIABLE.sub(lambda found: environ.get(found[1], found[0]), value)
    return str(_home(environ) / value[2:]) if value.startswith("~/") else value
