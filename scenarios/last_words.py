"""The part of a program's output that says why it failed: the message, then the top of the stack.

Python prints the message after the stack, Node, Java, Go and Rust before it. So neither the first nor the last characters do.
"""

from __future__ import annotations

import re

__all__ = ["first_and_last", "last_words", "without_stacks"]

_SHOWN_MAX = 300
_LINE_MAX = 160
_FRAME = re.compile(r"\s+at |\s*\d+: +\S|#\d+ |\s+File \"|\s+from |\s+\.\.\. \d+ (more|elided)|goroutine \d+ ")
_MESSAGE = re.compile(
    r"\b(\w*(error|exception|panic(ked)?)|fatal|fail(ed|ure)|abort(ed)?|assert(ion)?)\b", re.IGNORECASE
)
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*?[ \t]*File .*\n(?:[ \t].*\n)*")
_PLACE = re.compile(r"File \"(.*)\", line (\d+)")
_AGAIN = re.compile(r"(\b[\w ]+ ended with status -?\d+: )UsageError: \1")  # Said by the process that watched it, too.
_OUR_ERRORS = re.compile(r"\bcrashmatrix\.[\w.]+\.(?=[A-Z]\w+: )")


def last_words(printed: str) -> str:
    """Return at most 300 characters of what a program printed, in one line: its last message, then the top of the stack."""
    lines = _without_inner_frames([line for line in printed.splitlines() if line.strip()])
    text = _joined(lines)
    if len(text) <= _SHOWN_MAX:
        return text
    messages = [at for at, line in enumerate(lines) if _MESSAGE.search(line) and not _FRAME.match(line)]
    if not messages:
        return text[-_SHOWN_MAX:]
    return _joined(lines[messages[-1] :])[:_SHOWN_MAX]


def first_and_last(printed: str, lines_max: int = 3) -> str:
    """Return the first and the last lines of what a program printed, each cut to fit, in one line.

    A server says first what it found, and last why it ended.
    """
    lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
    left_out = len(lines) - 2 * lines_max
    if left_out > 0:
        lines = [*lines[:lines_max], f"... {left_out} lines ...", *lines[-lines_max:]]
    return " | ".join(line if len(line) <= _LINE_MAX else f"{line[:_LINE_MAX]}..." for line in lines)


def without_stacks(text: str) -> str:
    """Return a text in one line, with the place at the top of the stack in the place of each of Python's tracebacks.

    A place in crashmatrix itself is left out, as is the path of its exceptions: both say nothing about the target.
    """
    return _AGAIN.sub(r"\1", _OUR_ERRORS.sub("", " ".join(_TRACEBACK.sub(_top_of_stack, text).split())))


def _top_of_stack(traceback: re.Match[str]) -> str:
    file, line = _PLACE.findall(traceback[0])[-1]
    return "" if "/crashmatrix/" in file else f"{file.rpartition('/')[2]}, line {line}: "


def _without_inner_frames(lines: list[str]) -> list[str]:
    """Keep the first frame of each stack; a frame of Python's has its line of code below it."""
    kept: list[str] = []
    in_stack = False
    for line in lines:
        frame = _FRAME.match(line) is not None
        if not (in_stack and (frame or line.startswith("    "))):
            kept.append(line)
        in_stack = frame or (in_stack and line.startswith("    "))
    return kept


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
