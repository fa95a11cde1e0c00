"""The action language, which says what a failpoint does when it is hit: parse it, print it, choose a term, perform it.

    actions = term *("->" term)
    term    = [percent "%"] [count "*"] task ["(" argument ")"]

It is the language of the Rust crate fail (https://docs.rs/fail, `fail::cfg`) with three tasks added: `kill`,
`exit(code)` and `raise(ERRNO)`. On each hit the terms are tried from left to right and the first that yields its task
wins: a term whose count is used up yields nothing, then one that misses its probability yields nothing and keeps its
count. `off` is a task like the others: it does nothing and ends the search. So `2*off->kill` kills at the third hit.

Syntax and meaning follow fail 0.5.1; `tests/faults/test_actions.py` has the table. A percentage is a
Rust `f32`: `125%`, `inf%` and `nan%` always yield, as `100%` does. Counts and milliseconds are 64-bit numbers. `off`,
`pause` and `yield` ignore an argument. Only this is stricter here: fail accepts a probability below 0, and panics at
the first hit.

An argument runs to the closing parenthesis that ends its term. `->` cannot stand in it, since texts are split at it
first; in a FAILPOINTS text neither can `;`. Printing gives a text that parses to the same terms.
"""

import difflib
import errno
import logging
import math
import os
import random
import re
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from crashmatrix.faults.errors import InvalidAction, Panic

__all__ = ["Plan", "Return", "Task", "Term", "parse", "perform", "render", "split_configuration"]

_LOGGER: Final = logging.getLogger("faults")
_FLOAT: Final = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf|infinity|nan)", re.I | re.ASCII)
"""The texts that Rust's `f32` parses; `float` parses these and more."""
_DIGITS: Final = re.compile(r"\+?0*([0-9]{1,20})")
_U64_MAX: Final = 2**64 - 1
_BLANKS: Final = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""The characters that Rust's `trim` removes: Unicode's White_Space. `str.strip` also removes U+001C to U+001F."""
_SLEEP_SECONDS_MAX: Final = 2**32  # 136 years; `time.sleep` refuses 300.


class Task(Enum):
    """The task of a chosen term; the value is its word in the language."""

    OFF = "off"
    RETURN = "return"
    SLEEP = "sleep"
    PANIC = "panic"
    PRINT = "print"
    PAUSE = "pause"
    YIELD = "yield"
    DELAY = "delay"
    KILL = "kill"
    EXIT = "exit"
    RAISE = "raise"


class _Refused(Exception):
    """A part of a term is wrong; the caller knows the column. Arguments: problem, remedy."""


@dataclass(frozen=True, slots=True)
class Return:
    """The result of `FailPoint.hit()` when `return` or `return(value)` was chosen; `value` is None without an argument."""

    value: str | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """One term of an action text; `str()` prints it in the syntax `parse` reads.

    `argument` is an int for sleep and delay (milliseconds) and exit (status), otherwise the text or None.
    `percent` is the probability, 0 to 100. `count` is how often the term may be chosen, None for no limit.
    Raises InvalidAction if its text does not parse back to it.
    """

    task: Task
    argument: int | str | None = None
    percent: float = 100.0
    count: int | None = None

    def __post_init__(self) -> None:
        text = str(self)
        fields = (self.task, self.argument, float(self.percent), self.count)
        if repr(_read_term(text, text, 0)) != repr(fields):  # Unlike ==, repr tells -0.0 from 0.0.
            raise InvalidAction(text, 1, f"{self!r} parses back differently", "give the argument the type of its task")

    def __str__(self) -> str:
        percent = "" if self.percent == 100 else f"{repr(float(self.percent)).removesuffix('.0')}%"
        count = "" if self.count is None else f"{self.count}*"
        argument = "" if self.argument is None else f"({self.argument})"
        return f"{percent}{count}{self.task.value}{argument}"


def parse(text: str) -> tuple[Term, ...]:
    """Read an action text such as `25%3*sleep(10)->return(x)`.

    Raises InvalidAction, whose column and remedy are those of the first mistake.
    Source: `fail::cfg` of the Rust crate fail.
    """
    terms = []
    start = 0
    for part in text.split("->"):
        terms.append(Term(*_read_term(text, part, start)))
        start += len(part) + len("->")
    return tuple(terms)


def render(terms: Iterable[Term]) -> str:
    """Print terms in the syntax `parse` reads: `parse(render(terms)) == tuple(terms)` unless there are none."""
    return "->".join(map(str, terms))


def split_configuration(text: str) -> dict[str, str]:
    """Split `name=actions;name=actions` into action texts by name, all of them checked.

    Empty parts and whitespace around names and actions are ignored; if a name is given twice, the last actions count.
    Raises InvalidAction with columns of the whole text. Source: the FAILPOINTS variable of the Rust crate fail.
    """
    configuration = {}
    start = 0
    for part in text.split(";"):
        if part.strip(_BLANKS):
            name, actions = _split_part(text, part, start)
            configuration[name] = actions
        start += len(part) + len(";")
    return configuration


def _split_part(text: str, part: str, start: int) -> tuple[str, str]:
    raw_name, equals, actions = part.partition("=")
    name = raw_name.strip(_BLANKS)
    column = start + len(part) - len(part.lstrip(_BLANKS)) + 1
    if not equals or not name:
        raise InvalidAction(
            text, column, f"{part.strip(_BLANKS)!r} is not name=actions", "write as in wal.before_sync=kill"
        )
    if space := re.search(r"\s", name):
        raise InvalidAction(text, column + space.start(), f"{name!r} contains whitespace", "separate by ';'")
    try:
        parse(actions)
    except InvalidAction as error:
        column = start + len(raw_name) + len("=") + error.column
        raise InvalidAction(text, column, error.problem, error.remedy) from None
    return name, actions.strip(_BLANKS)


def _read_term(text: str, part: str, start: int) -> tuple[Task, int | str | None, float, int | None]:
    """Read the fields of one Term; `part` stands in `text` at `start`."""
    term = part.strip(_BLANKS)
    offset = start + part.index(term)
    try:
        if not term:
            raise _Refused("a term is empty", "write a task there ('off' does nothing) or remove the '->'")
        head, opening, tail = term.partition("(")
        if ")" in head:
            offset += head.index(")")
            raise _Refused("')' closes nothing", "write task(argument), or remove it")
        if ";" in head:
            offset += head.index(";")
            raise _Refused("';' ends an action text", "leave it out")
        if opening and not tail.endswith(")"):
            offset += len(head)
            raise _Refused(
                "'(' is not closed at the end of its term",
                "add ')'; '->' cannot stand inside, in FAILPOINTS neither can ';'",
            )
        before, percent_sign, head = head.rpartition("%")
        percent = _percent(before) if percent_sign else 100.0
        offset += len(before) + len(percent_sign)
        before, star, word = head.rpartition("*")
        count = _count(before) if star else None
        offset += len(before) + len(star)
        task = _task(word)
        offset += (len(word) + 1) if opening else 0
        argument = _argument(task, tail[:-1] if opening else None)
    except _Refused as refused:
        problem, remedy = refused.args
        raise InvalidAction(text, offset + 1, problem, remedy) from None
    return task, argument, percent, count


def _percent(text: str) -> float:
    if "*" in text:
        raise _Refused("the probability stands after the count", "write it first, as in 25%2*kill")
    if not _FLOAT.fullmatch(text):
        raise _Refused(f"{text!r} is not a probability", "write a percentage such as 12.5, as in 12.5%kill")
    percent = float(text)
    if percent < 0:
        raise _Refused(f"{text!r} is below 0, so no hit could be drawn", "write a percentage from 0, as in 12.5%kill")
    return abs(percent) if percent < 100 else 100.0  # NaN is not below 100: like fail, always yield.


def _count(text: str) -> int:
    count = _whole(text)
    if count is None:
        raise _Refused(f"{text!r} is not a count", f"write a whole number from 0 to {_U64_MAX}, as in 3*off->kill")
    return count


def _whole(text: str) -> int | None:
    """The number if Rust's `u64` parses it, else None."""
    digits = _DIGITS.fullmatch(text)
    return number if digits and (number := int(digits[1])) <= _U64_MAX else None


def _task(word: str) -> Task:
    try:
        return Task(word)
    except ValueError:
        words = [task.value for task in Task]
        close = difflib.get_close_matches(word.strip().lower(), words, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise _Refused(f"unknown task {word!r}", f"{hint}tasks are {', '.join(words)}") from None


def _argument(task: Task, text: str | None) -> int | str | None:
    match task:
        case Task.SLEEP | Task.DELAY:
            return _number(task, text, _U64_MAX, "milliseconds", 100)
        case Task.EXIT:
            return _number(task, text, 255, "an exit status", 1)
        case Task.RAISE:
            return _errno_name(text)
        case Task.RETURN | Task.PANIC | Task.PRINT:
            if text is not None and "->" in text:
                raise _Refused("'->' cannot stand in an argument", "leave it out")
            return text
        case Task.OFF | Task.PAUSE | Task.YIELD:
            return None
        case Task.KILL:
            if text is not None:
                raise _Refused(f"{task.value} takes no argument", f"write {task.value}")
            return None


def _number(task: Task, text: str | None, limit: int, meaning: str, example: int) -> int:
    remedy = f"write {meaning} as a whole number from 0 to {limit}, as in {task.value}({example})"
    if text is None:
        raise _Refused(f"{task.value} needs an argument", remedy)
    number = _whole(text)
    if number is None or number > limit:
        raise _Refused(f"{text!r} is not {meaning}", remedy)
    return number


def _errno_name(text: str | None) -> str:
    if text is None:
        raise _Refused("raise needs an argument", "write the name of an errno, as in raise(ENOSPC)")
    names = [name for name in vars(errno) if name.startswith("E")]
    if text not in names:
        close = difflib.get_close_matches(text.upper(), names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise _Refused(f"{text!r} is not an errno here", f"{hint}write a name of the errno module, as in raise(ENOSPC)")
    return text


class Plan:
    """Parsed actions and their state: the rest of each count, and the random numbers.

    Not thread-safe by itself; the registry calls it under its lock.
    """

    __slots__ = ("_left", "_random", "_terms", "text")

    def __init__(self, text: str, seed: int, name: str) -> None:
        self.text = text.strip(_BLANKS)
        self._terms = parse(text)
        self._left = [math.inf if term.count is None else term.count for term in self._terms]
        self.reseed(seed, name)

    def reseed(self, seed: int, name: str) -> None:
        """Restart this failpoint's random numbers: they depend on seed and name, never on other failpoints."""
        self._random = random.Random(f"{seed}/{name}")

    def choose(self) -> Term | None:
        """The term that wins this hit, with its count reduced; None if every term is used up or missed, or if `off` wins."""
        for index, term in enumerate(self._terms):
            if self._left[index] <= 0:
                continue
            if term.percent < 100 and self._random.random() * 100 >= term.percent:
                continue
            self._left[index] -= 1
            return None if term.task is Task.OFF else term
        return None


def perform(term: Term, name: str) -> Return | None:
    """Perform the term of failpoint `name`, except `pause`, which needs the registry and does nothing here.

    Raises Panic for `panic` and OSError for `raise`. `kill` and `exit` do not return, and run no handler.
    """
    match term.task, term.argument:
        case Task.RETURN, None | str() as value:
            return Return(value)
        case Task.SLEEP, int(milliseconds):
            time.sleep(min(milliseconds / 1000, _SLEEP_SECONDS_MAX))
        case Task.DELAY, int(milliseconds):
            deadline = time.monotonic_ns() + milliseconds * 1_000_000
            while time.monotonic_ns() < deadline:
                pass
        case Task.PANIC, message:
            raise Panic(f"failpoint {name} panic" if message is None else message)
        case Task.PRINT, message:
            _LOGGER.info("%s", f"failpoint {name} executed." if message is None else message)
        case Task.YIELD, _:
            os.sched_yield()
            time.sleep(0)  # Up to Python 3.11 sched_yield keeps the GIL, so none of our threads would run.
        case Task.KILL, _:
            os.kill(os.getpid(), signal.SIGKILL)
            os._exit(128 + signal.SIGKILL)  # Reached by process 1 of a container only: the kernel shields it.
        case Task.EXIT, int(status):
            os._exit(status)
        case Task.RAISE, str(errno_name):
            raise _os_error(errno_name, name)
    return None


def _os_error(errno_name: str, name: str) -> OSError:
    code: int = getattr(errno, errno_name)
    error = OSError(code, os.strerror(code))
    error.add_note(f"injected by failpoint {name}")
    return error
