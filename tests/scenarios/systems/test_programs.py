"""A program runs to its end; one that fails is quoted, and one whose server has gone does not run for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.systems.programs import CommandFailed, arguments_of, filled, run_program


def run(script: str, tmp_path: Path, gone: str = "") -> str:
    return run_program("recover", ["sh", "-c", script], tmp_path, {"PATH": "/bin:/usr/bin"}, gone=lambda: gone)


def test_what_it_printed(tmp_path: Path) -> None:
    """Its standard output is returned; its current folder is the given one."""
    assert run("pwd; echo no >&2", tmp_path) == f"{tmp_path}\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo broken >&2; exit 3", "recover exited with status 3; it said: broken"),
        ("echo only out; exit 1", "recover exited with status 1; it said: only out"),
        ("kill -SEGV $$", "recover died by SIGSEGV"),
        (
            "echo no such table; for at in $(seq 60); do echo line $at of a long log; done; exit 1",
            "recover exited with status 1; it said: no such table ... ",
        ),
    ],
)
def test_failures(script: str, message: str, tmp_path: Path) -> None:
    """Any end but status 0 is an error that says what the program said."""
    with pytest.raises(CommandFailed) as failed:
        run(script, tmp_path)
    assert str(failed.value).startswith(message)
    assert len(str(failed.value)) < 600


@pytest.mark.lengthy
def test_a_client_whose_server_has_gone(tmp_path: Path) -> None:
    """A client that waits for a server that has ended is ended, too."""
    with pytest.raises(CommandFailed, match="recover was still running 2 s after the server died by SIGSEGV"):
        run("sleep 600", tmp_path, gone="the server died by SIGSEGV")


def test_placeholders_and_words() -> None:
    """Placeholders are replaced wherever they stand; a string is split as a shell would."""
    assert filled("--port={port}:{port}", {"{port}": "7"}) == "--port=7:7"
    assert arguments_of("a 'b c'") == ["a", "b c"]
    assert arguments_of(["a b"]) == ["a b"]
    with pytest.raises(UsageError, match="cannot be split"):
        arguments_of("a 'b")
