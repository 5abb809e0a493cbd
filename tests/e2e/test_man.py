"""The man pages: installed, well-formed, and with just the options, commands and requests that the
programs have."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from harness.mount import BIN, Magnetfs

PROGRAMS = ("magnetfs", "magnetfs-httpd", "magnetctl")
# Wide enough that no head of an item is broken.
RENDER = ("mandoc", "-Tascii", "-O", "width=300,indent=5")
HEAD, TEXT = 5, 13  # the columns where an item's head and its text begin
GAP = re.compile(r"\s{2,}")


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(run_folder: Path) -> Path:
    """Where `cmake --install` has put the pages."""
    prefix = run_folder / "prefix"
    run("cmake", "--install", BIN.parent, "--prefix", prefix)
    return prefix / "share" / "man" / "man1"


def same(text: str) -> str:
    """Help and page set some signs apart in different ways."""
    text = text.replace("…", "...").replace(" ...", "...")
    return re.sub(r"\s*\|\s*", "|", text)


def items(page: Path, section: str) -> dict[str, str]:
    """The items of a section's list: their heads, and the text below."""
    text = re.sub(r".\x08", "", run(*RENDER, page))
    found = re.search(rf"^{section}\n(.*?)^(?=\S)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section {section}"
    result: dict[str, str] = {}
    for block in found[1].rstrip().split("\n\n"):
        head, *rest = block.splitlines()
        if rest and rest[0].startswith(" " * TEXT):
            result[same(head.strip())] = " ".join(line.strip() for line in rest)
        elif re.match(rf" {{{HEAD}}}\S.{{,{TEXT - HEAD - 3}}}  \S", head):
            # A short head is on the first line of its text.
            lines = [head[TEXT:], *rest]
            result[same(head[HEAD:TEXT].strip())] = " ".join(line.strip() for line in lines)
    return result


def help_items(program: str) -> dict[str, str]:
    """What --help lists, with what it says of each."""
    result: dict[str, str] = {}
    for line in run(BIN / program, "--help").splitlines():
        # A head that is too long is one blank before its text.
        line = re.sub(r"^(  --\S+ \S+\|\S+) (?=\S)", r"\1  ", line)
        if match := re.match(r"\s{2,}(\S.*?)(?:\s{2,}(.*))?$", line):
            result[same(match[1])] = match[2] or ""
    return result


def options(found: dict[str, str]) -> dict[str, str]:
    return {head: text for head, text in found.items() if head.startswith("-")}


@pytest.mark.parametrize("program", PROGRAMS)
def test_page_is_installed_well_formed_and_named_by_help(program: str, installed: Path) -> None:
    page = installed / f"{program}.1"
    done = subprocess.run(
        ["mandoc", "-Tlint", "-W", "style", str(page)], capture_output=True, text=True
    )
    # Which other pages there are depends on the machine.
    complaints = [
        line for line in done.stdout.splitlines() if "referenced manual not found" not in line
    ]
    assert not complaints
    assert f"{program}(1)" in run(BIN / program, "--help")


@pytest.mark.parametrize("program", PROGRAMS)
def test_options_are_those_of_help(program: str, installed: Path) -> None:
    told = options(help_items(program))
    if program == "magnetfs-httpd":
        assert told.pop("--help, --version") == ""
        told |= {"--help": "", "--version": ""}
    page = options(items(installed / f"{program}.1", "OPTIONS"))
    assert len(told) >= 9
    assert set(page) == set(told)
    for head, text in told.items():
        if default := re.search(r"[\[(](\w[\w.:]*)[\])]$", text):
            assert re.search(rf"\b{re.escape(default[1])}(?!\w)", page[head]), f"default of {head}"
        if commands := re.match(r"[a-z, ]+: ", text):
            if program == "magnetctl":
                assert page[head].startswith(commands[0]), f"commands that take {head}"


def test_commands_are_those_of_help(installed: Path) -> None:
    _, _, told = run(BIN / "magnetctl", "--help").partition("Commands:\n")
    commands = {same(GAP.split(line.strip())[0]) for line in told.split("\n\n")[0].splitlines()}
    assert len(commands) == 12
    assert set(items(installed / "magnetctl.1", "COMMANDS")) == commands


def test_requests_are_those_that_are_served(fs: Magnetfs, installed: Path) -> None:
    assert fs.web
    routes = fs.web.get("/").json["routes"]
    told = {f"{route['method']} {route['path']}" for route in routes}
    page = {
        re.sub(r"MAGNET|PATH", "*", head).replace("HASH", "{hash}")
        for head in items(installed / "magnetfs-httpd.1", "REQUESTS")
    }
    assert page == told
