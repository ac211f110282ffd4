"""What a command trusted before it is recorded: found in its environment and settings, and trusted still."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.clients import needs
from harness.origin import Origin
from tests.cli.support import wiretape, wiretape_json
from wiretape.cli.demo.certificates import OriginCA
from wiretape.daemon.environment import BUNDLE_VARIABLES, EXTRA_VARIABLES
from wiretape.daemon.trusted import trusted_before
from wiretape.tls.roots import certificates_in, machine_roots


def further(environ: dict[str, str], words: list[str], folder: Path) -> list[bytes]:
    """Return what is found beyond what this machine's own settings name."""
    always = trusted_before({}, [], Path("/"))
    return [block for block in trusted_before(environ, words, folder) if block not in always]


@pytest.fixture
def company(origin_ca: OriginCA, tmp_path: Path) -> Path:
    """A file with the root of a company that no system knows."""
    path = tmp_path / "company.pem"
    path.write_bytes(b"# roots of the company\n" + origin_ca.pem.read_bytes())
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", [*BUNDLE_VARIABLES, *EXTRA_VARIABLES, "NPM_CONFIG_CAFILE", "SSL_CERT_DIR"])
def test_files_and_folders_that_variables_name_are_found(name: str, company: Path, home: Path) -> None:
    certs = home / "certs"
    certs.mkdir()
    (certs / "one.pem").write_bytes(company.read_bytes())
    expected = certificates_in([company])
    for value in (str(certs), "home/certs"):
        assert further({name: value, "HOME": str(home)}, [], home.parent) == expected
    if name != "SSL_CERT_DIR":
        assert further({name: str(company), "HOME": str(home)}, [], home) == expected
    assert further({name: "/nowhere", "HOME": str(home)}, [], home) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".npmrc", "registry=https://r/\ncafile = {0}\n"),
        (".npmrc", "cafile=${{HOME}}/../company.pem"),
        (".npmrc", "cafile=~/../company.pem"),
        (".npmrc", 'ca[]="{1}"'),
        (".config/pip/pip.conf", "[global]\ncert = {0}\n"),
        (".pip/pip.conf", "[install]\ncert={0}\n"),
        (".gitconfig", "[http]\n\tsslCAInfo = {0}\n"),
        (".gitconfig", '[http "https://example.com/"]\n\tsslCAInfo = ~/../company.pem\n'),
        (".cargo/config.toml", '[http]\ncainfo = "{0}"\n'),
        (".curlrc", "silent\n--cacert {0}\n"),
        (".curlrc", 'cacert = "{0}"\n'),
        (".wgetrc", "ca_certificate = {0}\n"),
    ],
)
def test_what_the_settings_of_programs_name_is_found(company: Path, home: Path, file: str, text: str) -> None:
    (pem,) = certificates_in([company])
    (home / file).parent.mkdir(parents=True, exist_ok=True)
    (home / file).write_text(text.format(company, pem.decode().replace("\n", "\\n")))
    environ = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    assert further(environ, [], home.parent) == [pem]


@pytest.mark.parametrize("text", ["cafile", "[http", "\0", "cafile=", "[http]\ncainfo = 5", "http = 5"])
def test_settings_that_cannot_be_read_name_nothing(home: Path, text: str) -> None:
    for file in (".npmrc", ".config/pip/pip.conf", ".gitconfig", ".cargo/config.toml", ".curlrc", ".wgetrc"):
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_text(text)
    assert further({"HOME": str(home), "PATH": "/usr/bin:/bin"}, [], home) == []


def test_npm_options_of_the_command_are_found(company: Path, home: Path) -> None:
    (home / "rc").write_text(f"cafile={company}")
    expected = certificates_in([company])
    for words in (["npm", "ping", "--userconfig", "rc"], ["npm", "--userconfig=rc"], ["npm", "--cafile", str(company)]):
        assert further({"HOME": str(home)}, words, home) == expected


def test_a_preset_bundle_stays_trusted_by_the_command_and_by_the_recorder(
    root: Path, https_origin: Origin, company: Path
) -> None:
    code = "import os, sys, urllib.request as u; print(open(os.environ['PIP_CERT']).read()); u.urlopen(sys.argv[1])"
    url = https_origin.url("/text/300")
    words = [sys.executable, "-c", code, url]
    done = wiretape("run", "--root", root, "--", *words, env={"REQUESTS_CA_BUNDLE": str(company)})
    assert done.returncode == 0, done.stderr
    bundle = done.stdout
    for block in (*certificates_in([company]), *machine_roots(), (root / "ca" / "ca.pem").read_bytes()):
        assert block in bundle
    (item,) = wiretape_json("query", "last", "--root", root)["items"]
    assert (item["url"], item["statusCode"]) == (url, 200)
    # What this command trusted, no other does.
    assert wiretape("run", "--root", root, "--", *words).returncode != 0


def test_p14_what_nobody_trusted_is_not_trusted_now(root: Path, https_origin: Origin) -> None:
    done = wiretape("run", "--root", root, "--", needs("curl"), "-sS", "-f", https_origin.url("/text/300"))
    assert done.returncode != 0
    (item,) = wiretape_json("query", "last", "--root", root)["items"]
    assert item["statusCode"] is None


def test_npm_works_where_a_cafile_is_configured(root: Path, https_origin: Origin, company: Path, home: Path) -> None:
    npm = needs("npm")
    https_origin.script("/-/ping", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", then="close")
    (home / "npmrc").write_text(f"cafile={company}\n")
    (home / "global").write_text("")
    words = [npm, "ping", "--registry", https_origin.url("/"), "--fetch-retries", "0"]
    words += [f"--userconfig={home}/npmrc", f"--globalconfig={home}/global", f"--cache={home}/cache"]
    done = wiretape("run", "--root", root, "--", *words)
    assert done.returncode == 0, done.stderr
    urls = [item["url"] for item in wiretape_json("query", "last", "--root", root)["items"]]
    assert any("/-/ping" in url for url in urls)


def test_wget_is_recorded_and_keeps_its_settings(root: Path, https_origin: Origin, company: Path, home: Path) -> None:
    wget = needs("wget")
    (home / ".wgetrc").write_text(f"header = X-Kept: yes\nca_certificate = {company}\n")
    url = https_origin.url("/text/300")
    done = wiretape("run", "--root", root, "--", wget, "-q", "-O", "-", url, env={"HOME": str(home), "WGETRC": ""})
    assert (done.returncode, len(done.stdout)) == (0, 300), done.stderr
    (item,) = wiretape_json("query", "last", "--root", root)["items"]
    assert (item["url"], item["statusCode"]) == (url, 200)
    shown = wiretape_json("exchange", "last", "1", "--root", root)
    assert ["X-Kept", "yes"] in shown["request"]["headers"]
    assert (home / ".wgetrc").read_text().endswith(f"ca_certificate = {company}\n")


def test_curl_is_recorded_though_its_settings_name_a_bundle(
    root: Path, https_origin: Origin, company: Path, home: Path
) -> None:
    (home / ".curlrc").write_text(f'user-agent = "kept"\ncacert = "{company}"\n')
    url = https_origin.url("/text/300")
    env = {"HOME": str(home), "XDG_CONFIG_HOME": "", "CURL_HOME": ""}
    done = wiretape("run", "--root", root, "--", needs("curl"), "-sS", url, env=env)
    assert (done.returncode, len(done.stdout)) == (0, 300), done.stderr
    shown = wiretape_json("exchange", "last", "1", "--root", root)
    assert ["User-Agent", "kept"] in shown["request"]["headers"]


def test_pip_is_recorded_though_its_settings_name_a_bundle(
    root: Path, https_origin: Origin, company: Path, home: Path
) -> None:
    (home / "pip.conf").write_text(f"[global]\ncert = {company}\n")
    words = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-cache-dir",
        "--retries",
        "0",
        "--disable-pip-version-check",
    ]
    words += ["-d", str(home), "-i", https_origin.url("/simple/"), "no-such-project"]
    https_origin.script("/simple/no-such-project/", b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", then="close")
    env = {"PIP_CONFIG_FILE": str(home / "pip.conf"), "HOME": str(home)}
    assert wiretape("run", "--root", root, "--", *words, env=env).returncode == 1
    (item,) = wiretape_json("query", "last", "--root", root)["items"]
    assert (item["statusCode"], item["state"]) == (404, "complete")


def test_git_is_recorded_though_its_settings_name_a_bundle(
    root: Path, https_origin: Origin, company: Path, home: Path
) -> None:
    git = needs("git")
    env = {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": str(home / ".gitconfig")}
    subprocess.run(
        [git, "config", "--global", "http.sslCAInfo", company], check=True, env={**env, "PATH": "/usr/bin:/bin"}
    )
    https_origin.script("/repo/info/refs", b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", then="close")
    wiretape("run", "--root", root, "--", git, "ls-remote", https_origin.url("/repo"), env=env)
    items = wiretape_json("query", "last", "--root", root)["items"]
    assert {(item["statusCode"], item["error"]) for item in items} == {(404, None)}
