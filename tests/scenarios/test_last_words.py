"""A failed program's message is shown in any language, and not forty frames of its stack."""

from __future__ import annotations

import pytest

from crashmatrix.scenarios.last_words import first_and_last, last_words, without_stacks

NODE = "/srv/store.js:17\n    throw new Error('no space');\n    ^\n\nError: no space left in segment 3\n" + "".join(
    f"    at Store.append{number} (/srv/node_modules/a/long/path/store.js:{number}:11)\n" for number in range(40)
)
PYTHON = (
    "Traceback (most recent call last):\n"
    + "".join(f'  File "/srv/store.py", line {number}, in append\n    self.append({number})\n' for number in range(40))
    + "OSError: [Errno 28] no space left in segment 3\n"
)
JAVA = (
    'Exception in thread "main" java.io.IOException: no space left in segment 3\n'
    + "".join(f"\tat org.example.Store.append(Store.java:{number})\n" for number in range(40))
    + "\t... 12 more\n"
)
RUST = "thread 'main' panicked at src/main.rs:3:5:\nno space left in segment 3\nstack backtrace:\n" + "".join(
    f"  {number}: store::append\n             at ./src/main.rs:{number}:5\n" for number in range(40)
)
GO = "panic: no space left in segment 3\n\ngoroutine 1 [running]:\n" + "".join(
    f"main.append(0x{number})\n\t/srv/main.go:{number} +0x1d\n" for number in range(40)
)  # fmt: skip
LOG = (
    "".join(f"opened segment {number}\n" for number in range(100)) + "FATAL: no space left in segment 3\n" + "bye\n" * 5
)


@pytest.mark.parametrize(
    "printed", [NODE, PYTHON, JAVA, RUST, GO, LOG], ids=["node", "python", "java", "rust", "go", "log"]
)
def test_the_message_is_shown(printed: str) -> None:
    text = last_words(printed)
    assert "no space left in segment 3" in text
    assert len(text) <= 300
    assert "\n" not in text


def test_the_top_of_the_stack_is_shown() -> None:
    """It is where the program failed."""
    assert "Store.append0 " in last_words(NODE)
    assert "append1 " not in last_words(NODE)


@pytest.mark.parametrize(("printed", "shown"), [("", ""), (" a\n\n b ", "a b"), ("x" * 400, "x" * 300)])
def test_short_and_plain_output(printed: str, shown: str) -> None:
    assert last_words(printed) == shown


def test_first_and_last_lines() -> None:
    """A long output is shown by its first and last lines, each cut to fit; a short one whole."""
    assert first_and_last("a\n\n b  c \n") == "a | b c"
    assert first_and_last("\n".join(map(str, range(9)))) == "0 | 1 | 2 | ... 3 lines ... | 6 | 7 | 8"
    assert first_and_last("x" * 500) == "x" * 160 + "..."
    assert first_and_last("") == ""


OURS = 'File "/x/crashmatrix/scenarios/systems/command.py", line 246, in _json_lines\n    raise PromiseBroken(\n'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("it ended; fix it", "it ended; fix it"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
        (
            f'it ended: Traceback (most recent call last):\n  {OURS}  File "/home/my_store.py", line 7, in f\n    g()\n    ^^^\n'
            "KeyError: 'x'; fix it",
            "it ended: my_store.py, line 7: KeyError: 'x'; fix it",
        ),
        (
            f"Traceback (most recent call last):\n  {OURS}crashmatrix.scenarios.errors.PromiseBroken: corrupt: row 7",
            "PromiseBroken: corrupt: row 7",
        ),
    ],
)
def test_the_place_stands_for_a_stack(text: str, shown: str) -> None:
    """A traceback of Python is replaced by the place where it ended, if that is the target's."""
    assert without_stacks(text) == shown
