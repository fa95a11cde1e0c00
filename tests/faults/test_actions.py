"""The action language: what is read, what is printed, what is refused and where, and which term wins."""

import errno
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from subprocess import PIPE

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from crashmatrix.faults.actions import Plan, Return, Task, Term, parse, perform, render, split_configuration
from crashmatrix.faults.errors import InvalidAction, Panic
from tests import ROOT

# text, terms, what the terms print if that is not the text
READS: list[tuple[str, list[Term], str | None]] = [
    ("off", [Term(Task.OFF)], None),
    ("return", [Term(Task.RETURN)], None),
    ("return()", [Term(Task.RETURN, "")], None),
    ("return(x)", [Term(Task.RETURN, "x")], None),
    ("return( x )", [Term(Task.RETURN, " x ")], None),
    ("return(f(x))", [Term(Task.RETURN, "f(x)")], None),
    ("return(()", [Term(Task.RETURN, "(")], None),
    ("return(50%2*off)", [Term(Task.RETURN, "50%2*off")], None),
    ("return(a=b)", [Term(Task.RETURN, "a=b")], None),
    ("sleep(0)", [Term(Task.SLEEP, 0)], None),
    ("sleep(0100)", [Term(Task.SLEEP, 100)], "sleep(100)"),
    ("sleep(4294967295)", [Term(Task.SLEEP, 2**32 - 1)], None),
    ("panic", [Term(Task.PANIC)], None),
    ("panic(out of luck)", [Term(Task.PANIC, "out of luck")], None),
    ("print", [Term(Task.PRINT)], None),
    ("print(still alive!)", [Term(Task.PRINT, "still alive!")], None),
    ("pause", [Term(Task.PAUSE)], None),
    ("yield", [Term(Task.YIELD)], None),
    ("delay(7)", [Term(Task.DELAY, 7)], None),
    ("kill", [Term(Task.KILL)], None),
    ("exit(255)", [Term(Task.EXIT, 255)], None),
    ("raise(ENOSPC)", [Term(Task.RAISE, "ENOSPC")], None),
    ("raise(EWOULDBLOCK)", [Term(Task.RAISE, "EWOULDBLOCK")], None),
    ("3*kill", [Term(Task.KILL, count=3)], None),
    ("0*kill", [Term(Task.KILL, count=0)], None),
    ("25%kill", [Term(Task.KILL, percent=25)], None),
    ("0%kill", [Term(Task.KILL, percent=0)], None),
    ("12.5%kill", [Term(Task.KILL, percent=12.5)], None),
    ("100%kill", [Term(Task.KILL)], "kill"),
    (".5%kill", [Term(Task.KILL, percent=0.5)], "0.5%kill"),
    ("50.%kill", [Term(Task.KILL, percent=50)], "50%kill"),
    ("1E-9%kill", [Term(Task.KILL, percent=1e-9)], "1e-09%kill"),
    ("20%3*print(still alive!)->panic", [Term(Task.PRINT, "still alive!", 20, 3), Term(Task.PANIC)], None),
    (" 2*off -> kill ", [Term(Task.OFF, count=2), Term(Task.KILL)], "2*off->kill"),
    ("off->off->off", [Term(Task.OFF)] * 3, None),
]


@pytest.mark.parametrize(("text", "terms", "printed"), READS)
def test_reads(text: str, terms: list[Term], printed: str | None) -> None:
    """Every form of the language is read as documented, and printed in its shortest form."""
    assert parse(text) == tuple(terms)
    assert render(parse(text)) == (text if printed is None else printed)


# Every character with a meaning in the language or on a terminal, and a character of each width; a short alphabet also
# spares the first run on a machine the seconds in which Hypothesis tabulates Unicode.
ALPHABET = "%*()->;=10.eoffkill \t\n\r\x00\x1b\x85\u2028\u00e9\u0661\U0001f4a5\ud800"
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # A busy machine is not a failure.
TEXTS = st.text(ALPHABET).filter(lambda text: "->" not in text)
ERRNO_NAMES = st.sampled_from(sorted(errno.errorcode.values()))
ARGUMENTS: dict[Task, st.SearchStrategy[int | str | None]] = {
    Task.OFF: st.none(),
    Task.RETURN: st.none() | TEXTS,
    Task.SLEEP: st.integers(0, 2**64 - 1),
    Task.PANIC: st.none() | TEXTS,
    Task.PRINT: st.none() | TEXTS,
    Task.PAUSE: st.none(),
    Task.YIELD: st.none(),
    Task.DELAY: st.integers(0, 2**64 - 1),
    Task.KILL: st.none(),
    Task.EXIT: st.integers(0, 255),
    Task.RAISE: ERRNO_NAMES,
}


@st.composite
def terms(draw: st.DrawFn) -> Term:
    task = draw(st.sampled_from(Task))
    count = draw(st.none() | st.integers(0, 2**64 - 1))
    return Term(task, draw(ARGUMENTS[task]), draw(st.floats(0, 100)), count)


@UNHURRIED
@given(st.lists(terms(), min_size=1, max_size=5))
def test_printed_terms_parse_back(written: list[Term]) -> None:
    """A text printed in a report can be pasted back and means the same."""
    assert parse(render(written)) == tuple(written)


ALWAYS, MOST = 100.0, 2**64 - 1

# The crate fail, version 0.5.1. DOC is what `fail::cfg` documents (https://docs.rs/fail/0.5.1/fail/fn.cfg.html), SETUP
# what `fail::FailScenario::setup` does, TESTED the crate's own `test_parse`. CODE follows from its `Action::from_str`:
# the parts that Rust's `str::trim`, `f32`, `usize` and `u64` (on 64-bit machines) accept. The refusals are an `Err`.
# why, text, (task, argument, percent, count) of each term
FAIL_ACCEPTS: list[tuple[str, str, list[tuple[Task, int | str | None, float, int | None]]]] = [
    ("DOC", "20%3*print(still alive!)->panic",
     [(Task.PRINT, "still alive!", 20, 3), (Task.PANIC, None, ALWAYS, None)]),
    ("DOC", "off", [(Task.OFF, None, ALWAYS, None)]),
    ("DOC", "pause", [(Task.PAUSE, None, ALWAYS, None)]),
    ("DOC", "yield", [(Task.YIELD, None, ALWAYS, None)]),
    ("DOC", "sleep(10)", [(Task.SLEEP, 10, ALWAYS, None)]),
    ("TESTED", "return", [(Task.RETURN, None, ALWAYS, None)]),
    ("TESTED", "return(64)", [(Task.RETURN, "64", ALWAYS, None)]),
    ("TESTED", "5*return", [(Task.RETURN, None, ALWAYS, 5)]),
    ("TESTED", "25%return", [(Task.RETURN, None, 25, None)]),
    ("TESTED", "return(2%5)", [(Task.RETURN, "2%5", ALWAYS, None)]),
    ("TESTED", "125%2*return", [(Task.RETURN, None, ALWAYS, 2)]),
    ("TESTED", "125%2*off", [(Task.OFF, None, ALWAYS, 2)]),
    ("TESTED", " 125%2*off ", [(Task.OFF, None, ALWAYS, 2)]),
    ("TESTED", "125%2*sleep(100)", [(Task.SLEEP, 100, ALWAYS, 2)]),
    ("TESTED", "125%2*panic", [(Task.PANIC, None, ALWAYS, 2)]),
    ("TESTED", "125%2*panic(msg)", [(Task.PANIC, "msg", ALWAYS, 2)]),
    ("TESTED", "125%2*print", [(Task.PRINT, None, ALWAYS, 2)]),
    ("TESTED", "125%2*print(msg)", [(Task.PRINT, "msg", ALWAYS, 2)]),
    ("TESTED", "125%2*pause", [(Task.PAUSE, None, ALWAYS, 2)]),
    ("TESTED", "125%2*yield", [(Task.YIELD, None, ALWAYS, 2)]),
    ("TESTED", "125%2*delay(2)", [(Task.DELAY, 2, ALWAYS, 2)]),
    ("CODE", "125%return(a)", [(Task.RETURN, "a", ALWAYS, None)]),
    ("CODE", "100.001%off", [(Task.OFF, None, ALWAYS, None)]),
    ("CODE", "12.5%off", [(Task.OFF, None, 12.5, None)]),
    ("CODE", "0%off", [(Task.OFF, None, 0, None)]),
    ("CODE", "-0%off", [(Task.OFF, None, 0, None)]),
    ("CODE", "+25%off", [(Task.OFF, None, 25, None)]),
    ("CODE", ".5%off", [(Task.OFF, None, 0.5, None)]),
    ("CODE", "5.%off", [(Task.OFF, None, 5, None)]),
    ("CODE", "2.5e1%off", [(Task.OFF, None, 25, None)]),
    ("CODE", "1E+9%off", [(Task.OFF, None, ALWAYS, None)]),
    ("CODE", "1e999%off", [(Task.OFF, None, ALWAYS, None)]),
    ("CODE", "inf%off", [(Task.OFF, None, ALWAYS, None)]),
    ("CODE", "+Infinity%off", [(Task.OFF, None, ALWAYS, None)]),
    ("CODE", "NaN%off", [(Task.OFF, None, ALWAYS, None)]),  # fail-rs checks that the frequency is below 1.
    ("CODE", "-nan%off", [(Task.OFF, None, ALWAYS, None)]),
    ("CODE", "0*off", [(Task.OFF, None, ALWAYS, 0)]),
    ("CODE", "+3*off", [(Task.OFF, None, ALWAYS, 3)]),
    ("CODE", "003*off", [(Task.OFF, None, ALWAYS, 3)]),
    ("CODE", "0" * 5000 + "3*off", [(Task.OFF, None, ALWAYS, 3)]),
    ("CODE", f"{MOST}*off", [(Task.OFF, None, ALWAYS, MOST)]),
    ("CODE", f"sleep({MOST})", [(Task.SLEEP, MOST, ALWAYS, None)]),
    ("CODE", "delay(+0100)", [(Task.DELAY, 100, ALWAYS, None)]),
    ("CODE", "return()", [(Task.RETURN, "", ALWAYS, None)]),
    ("CODE", "panic()", [(Task.PANIC, "", ALWAYS, None)]),
    ("CODE", "print( )", [(Task.PRINT, " ", ALWAYS, None)]),
    ("CODE", "return(f(x))", [(Task.RETURN, "f(x)", ALWAYS, None)]),
    ("CODE", "return(()", [(Task.RETURN, "(", ALWAYS, None)]),
    ("CODE", "return())", [(Task.RETURN, ")", ALWAYS, None)]),
    ("CODE", "return(x)y)", [(Task.RETURN, "x)y", ALWAYS, None)]),
    ("CODE", "return(50%2*off)", [(Task.RETURN, "50%2*off", ALWAYS, None)]),
    ("CODE", "return(a;b)", [(Task.RETURN, "a;b", ALWAYS, None)]),  # By `fail::cfg`; FAILPOINTS is split at it.
    ("CODE", "off(x)", [(Task.OFF, None, ALWAYS, None)]),
    ("CODE", "pause()", [(Task.PAUSE, None, ALWAYS, None)]),
    ("CODE", "2*yield(now)", [(Task.YIELD, None, ALWAYS, 2)]),
    ("CODE", " 1*off ->\t\u3000\x85off\n", [(Task.OFF, None, ALWAYS, 1), (Task.OFF, None, ALWAYS, None)]),
]  # fmt: skip

FAIL_REFUSES: list[tuple[str, str]] = [
    *(("TESTED", text) for text in ("delay", "sleep", "Return", "ab%return", "ab*return", "return(msg", "unknown")),
    *(("CODE", text) for text in ("", " ", "->", "off->", "->off", "off->->off", "off-> ->off", "off>off")),
    *(("CODE", text) for text in ("%off", "+%off", ".%off", "1_0%off", "0x1%off", "1 %off", "e5%off", "1e%off")),
    *(
        ("CODE", text)
        for text in ("50%50%off", "2*25%off", "infin%off", "25 % off", "25% off", "\u0661%off", "\u0131nf%off")
    ),
    *(("CODE", text) for text in ("*off", "+*off", "-1*off", "-0*off", "1.0*off", "2*3*off", "2 *off", "2* off")),
    *(("CODE", text) for text in (f"{MOST + 1}*off", "9" * 5000 + "*off", "\u0661*off", "1_0*off")),
    *(("CODE", text) for text in ("sleep()", "sleep( 5)", "sleep(5 )", "sleep(1.5)", "sleep(-1)", "delay(1s)")),
    *(("CODE", text) for text in (f"sleep({MOST + 1})", "delay(" + "9" * 5000 + ")", "sleep(1_0)")),
    *(("CODE", text) for text in ("off (x)", "return(x)y", "return(x) y", "off)", ")off(x)", "print(a->b)", "(x)")),
    *(("CODE", text) for text in ("off;", "off;off", "OFF", "of", "off\x1c", "\x1foff", "2\x1c*off", "50%")),
    ("CODE", "off\x00"),
]


@pytest.mark.parametrize(("why", "text", "fields"), FAIL_ACCEPTS)
def test_accepts_what_the_crate_fail_accepts(
    why: str, text: str, fields: list[tuple[Task, int | str | None, float, int | None]]
) -> None:
    """An action text written for fail-rs means here what it means there, and is printed as one that fail-rs accepts."""
    terms = parse(text)
    assert [(term.task, term.argument, term.percent, term.count) for term in terms] == fields
    assert parse(render(terms)) == terms


@pytest.mark.parametrize(("why", "text"), FAIL_REFUSES)
def test_refuses_what_the_crate_fail_refuses(why: str, text: str) -> None:
    """A text that fail-rs cannot read is also refused here, in one line with a column of that text and a next step."""
    with pytest.raises(InvalidAction) as caught:
        parse(text)
    assert 1 <= caught.value.column <= len(text) + 1
    assert len(caught.value.one_line.splitlines()) == 1
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["-1%off", "-0.001%off", "-inf%off", "-1e999%off"])
def test_refuses_what_would_panic_in_the_crate_fail(text: str) -> None:
    """fail-rs reads a probability below 0 and panics when it draws; here the text is refused before any hit."""
    with pytest.raises(InvalidAction, match="is below 0"):
        parse(text)


@pytest.mark.lengthy
def test_a_sleep_of_centuries_begins() -> None:
    """The longest sleep that fail-rs reads is slept, not refused by the clock when the failpoint is hit."""
    program = f"from crashmatrix.faults.actions import *; (term,) = parse('sleep({MOST})'); print(flush=True); perform(term, 'x')"
    with subprocess.Popen([sys.executable, "-c", program], stdout=PIPE, stderr=PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
        process.kill()
        assert process.communicate()[1] == ""


# text, column of the mistake, cause, next step
MISTAKES = [
    ("kil", 1, "unknown task 'kil'", "did you mean 'kill'? tasks are off, return,"),
    ("KILL", 1, "unknown task 'KILL'", "did you mean 'kill'?"),
    ("2*off->kil", 8, "unknown task 'kil'", "did you mean 'kill'?"),
    ("off ->  25%3*xyzzy(1)", 14, "unknown task 'xyzzy'", "tasks are off, return, sleep"),
    ("25% kill", 4, "unknown task ' kill'", "did you mean 'kill'?"),
    (
        "sleep",
        1,
        "sleep needs an argument",
        "milliseconds as a whole number from 0 to 18446744073709551615, as in sleep(100)",
    ),
    ("delay()", 7, "'' is not milliseconds", "as in delay(100)"),
    ("sleep(1.5)", 7, "'1.5' is not milliseconds", "as in sleep(100)"),
    ("sleep(-1)", 7, "'-1' is not milliseconds", "as in sleep(100)"),
    ("sleep(" + "9" * 5000 + ")", 7, "is not milliseconds", "from 0 to 18446744073709551615"),
    ("sleep(\N{ARABIC-INDIC DIGIT ONE})", 7, "is not milliseconds", "as in sleep(100)"),
    ("exit", 1, "exit needs an argument", "an exit status as a whole number from 0 to 255, as in exit(1)"),
    ("off->exit('x')", 11, "\"'x'\" is not an exit status", "as in exit(1)"),
    ("exit(256)", 6, "'256' is not an exit status", "from 0 to 255"),
    ("raise", 1, "raise needs an argument", "as in raise(ENOSPC)"),
    ("raise(NOSUCH)", 7, "'NOSUCH' is not an errno here", "a name of the errno module, as in raise(ENOSPC)"),
    ("raise(enospc)", 7, "'enospc' is not an errno here", "did you mean 'ENOSPC'?"),
    ("raise(errorcode)", 7, "'errorcode' is not an errno here", "as in raise(ENOSPC)"),
    ("sleep(18446744073709551616)", 7, "is not milliseconds", "from 0 to 18446744073709551615"),
    ("kill(9)", 6, "kill takes no argument", "write kill"),
    ("x*off", 1, "'x' is not a count", "write a whole number from 0 to 18446744073709551615, as in 3*off->kill"),
    ("*off", 1, "'' is not a count", "write a whole number"),
    ("-1*off", 1, "'-1' is not a count", "write a whole number"),
    ("50%1.5*off", 5 - 1, "'1.5' is not a count", "write a whole number"),
    ("2*3*off", 1, "'2*3' is not a count", "write a whole number"),
    ("9" * 5000 + "*off", 1, "is not a count", "write a whole number"),
    ("x%off", 1, "'x' is not a probability", "a percentage such as 12.5, as in 12.5%kill"),
    ("%off", 1, "'' is not a probability", "a percentage such as 12.5"),
    ("-1%off", 1, "'-1' is below 0", "a percentage from 0"),
    ("1_0%off", 1, "'1_0' is not a probability", "a percentage such as 12.5"),
    ("2*25%off", 1, "the probability stands after the count", "write it first, as in 25%2*kill"),
    ("", 1, "a term is empty", "'off' does nothing"),
    ("  ", 1, "a term is empty", "'off' does nothing"),
    ("->off", 1, "a term is empty", "remove the '->'"),
    ("off->", 6, "a term is empty", "remove the '->'"),
    ("off->->off", 6, "a term is empty", "remove the '->'"),
    ("off-> ->off", 6, "a term is empty", "remove the '->'"),
    ("return(x", 7, "'(' is not closed", "add ')'"),
    ("return(x)y", 7, "'(' is not closed", "add ')'"),
    ("print(a->b)", 6, "'(' is not closed", "'->' cannot stand inside"),
    ("off)", 4, "')' closes nothing", "write task(argument)"),
    ("off)(x)", 4, "')' closes nothing", "write task(argument)"),
    ("off;", 4, "';' ends an action text", "leave it out"),
]


@pytest.mark.parametrize(("text", "column", "problem", "remedy"), MISTAKES)
def test_refuses_with_the_place_and_the_remedy(text: str, column: int, problem: str, remedy: str) -> None:
    """A malformed text is refused whole; the message points at the first mistake and says what to write instead."""
    with pytest.raises(InvalidAction) as caught:
        parse(text)
    assert (caught.value.text, caught.value.column) == (text, column)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_draws_a_caret_under_the_mistake() -> None:
    """A person who mistypes in a test sees where, and a log line holds the same on one line."""
    with pytest.raises(InvalidAction) as caught:
        parse("2*off->raise(\tX)")
    column_and_cause = "'\\tX' is not an errno here; write a name of the errno module, as in raise(ENOSPC)"
    assert str(caught.value) == (
        f"column 14: {column_and_cause}\n"
        "    2*off->raise(\N{REPLACEMENT CHARACTER}X)\n"
        "                 ^"
    )  # fmt: skip
    assert caught.value.one_line == f"column 14 of '2*off->raise(\\tX)': {column_and_cause}"


@UNHURRIED
@given(st.text(ALPHABET))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parser fail in another way, and no text breaks the one-line form into two."""
    for read in (parse, split_configuration):
        try:
            read(text)
        except InvalidAction as error:
            assert 1 <= error.column <= len(text) + 1
            assert len(error.one_line.splitlines()) == 1
            assert len(str(error).split("\n")) == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: Term(Task.KILL, "x"),
        lambda: Term(Task.SLEEP),
        lambda: Term(Task.SLEEP, "10"),
        lambda: Term(Task.RETURN, 10),
        lambda: Term(Task.RETURN, "a->b"),
        lambda: Term(Task.RAISE, "NOSUCH"),
        lambda: Term(Task.KILL, percent=100.1),
        lambda: Term(Task.KILL, percent=-0.0),
        lambda: Term(Task.KILL, percent=float("nan")),
        lambda: Term(Task.KILL, count=-1),
    ],
)
def test_a_term_that_could_not_be_printed_cannot_be_made(make: Callable[[], Term]) -> None:
    """Every Term there is can be quoted in a report and read back."""
    with pytest.raises(InvalidAction):
        make()


@pytest.mark.parametrize(
    ("text", "configuration"),
    [
        ("", {}),
        (" ; ;", {}),
        ("a=kill", {"a": "kill"}),
        ("a=2*off->kill;b=return(x=y)", {"a": "2*off->kill", "b": "return(x=y)"}),
        (";; a = off ;\n b=pause ", {"a": "off", "b": "pause"}),
        ("a=off;b=off;a=kill", {"a": "kill", "b": "off"}),
        ("a=return;b=pause;", {"a": "return", "b": "pause"}),
        ("a=125%return", {"a": "125%return"}),
        ("a=off\x85;\u3000;b=2*off->\tkill", {"a": "off", "b": "2*off->\tkill"}),
        ("wal.append->sync=off", {"wal.append->sync": "off"}),
    ],
)
def test_splits_configurations(text: str, configuration: dict[str, str]) -> None:
    """The FAILPOINTS form is fail-rs's: parts by semicolon, empty ones ignored, the last of a name counts."""
    assert split_configuration(text) == configuration


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("a=kil", 3, "unknown task 'kil'"),
        ("a=off; b=2*off->raise(X)", 23, "'X' is not an errno here"),
        ("a=off;b", 7, "'b' is not name=actions"),
        ("a=off; =off", 8, "'=off' is not name=actions"),
        ("a=off; b c=off", 9, "'b c' contains whitespace"),
        ("a=", 3, "a term is empty"),
        ("a=print(x;y)", 8, "'(' is not closed"),
        ("a=kil;a=kill", 3, "unknown task 'kil'"),
        ("a=off;b=-1%off", 9, "'-1' is below 0"),
    ],
)
def test_refuses_configurations_with_columns_of_the_whole_text(text: str, column: int, problem: str) -> None:
    """The column counts from the start of the whole text, which is the one the user sees."""
    with pytest.raises(InvalidAction) as caught:
        split_configuration(text)
    assert (caught.value.text, caught.value.column) == (text, column)
    assert problem in caught.value.problem


def outcomes(text: str, hit_count: int, *, seed: int = 0, name: str = "x") -> list[str | None]:
    """The choice of each hit: the argument of the winning `return`, or None."""
    plan = Plan(text, seed, name)
    chosen = [plan.choose() for _ in range(hit_count)]
    return [None if term is None else str(term.argument) for term in chosen]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("return(a)", ["a", "a", "a", "a"]),
        ("125%return(a)->return(b)", ["a", "a", "a", "a"]),
        ("nan%return(a)->return(b)", ["a", "a", "a", "a"]),
        ("-0%return(a)->return(b)", ["b", "b", "b", "b"]),
        ("125%2*return(a)->off(x)->return(b)", ["a", "a", None, None]),
        ("2*return(a)", ["a", "a", None, None]),
        ("2*off->return(a)", [None, None, "a", "a"]),
        ("off->return(a)", [None, None, None, None]),
        ("1*return(a)->2*return(b)", ["a", "b", "b", None]),
        ("1*return(a)->1*off->return(b)", ["a", None, "b", "b"]),
        ("0*return(a)->return(b)", ["b", "b", "b", "b"]),
        ("0%return(a)->return(b)", ["b", "b", "b", "b"]),
        ("0%1*return(a)->1*return(b)", ["b", None, None, None]),
        ("100%1*return(a)->return(b)", ["a", "b", "b", "b"]),
    ],
)
def test_the_first_term_that_yields_wins(text: str, expected: list[str | None]) -> None:
    """Terms are tried from left to right; a used-up term and a miss fall to the next one; `off` ends the search."""
    assert outcomes(text, 4) == expected


@pytest.mark.parametrize("seed", range(20))
def test_a_miss_keeps_the_count(seed: int) -> None:
    """`50%2*` fires exactly twice however often it misses before, and each miss goes to the next term."""
    got = outcomes("50%2*return(a)->return(b)", 200, seed=seed)
    assert (got.count("a"), got.count("b")) == (2, 198)


@pytest.mark.parametrize("percent", [0.5, 12.5, 50, 99])
def test_probabilities_are_percentages(percent: float) -> None:
    """`p%` fires in p of a hundred hits."""
    hit_count = 20_000
    fired = outcomes(f"{percent}%return(a)", hit_count).count("a")
    assert fired == pytest.approx(hit_count * percent / 100, abs=3 * (hit_count * percent / 100) ** 0.5)


def test_seed_and_name_decide_what_is_drawn() -> None:
    """The same seed and name draw the same, another seed or name draws something else."""
    text = "50%return(a)"
    assert outcomes(text, 64, seed=1, name="x") == outcomes(text, 64, seed=1, name="x")
    assert outcomes(text, 64, seed=1, name="x") != outcomes(text, 64, seed=2, name="x")
    assert outcomes(text, 64, seed=1, name="x") != outcomes(text, 64, seed=1, name="y")


@pytest.mark.parametrize(("text", "value"), [("return", None), ("return()", ""), ("return(7)", "7")])
def test_return_hands_over_its_argument(text: str, value: str | None) -> None:
    """The code under test can distinguish a missing argument from an empty one."""
    assert perform(parse(text)[0], "x") == Return(value)


@pytest.mark.parametrize(("text", "message"), [("panic", "failpoint x panic"), ("panic(100% lost)", "100% lost")])
def test_panic_passes_except_exception(text: str, message: str) -> None:
    """An engine's `except Exception` cannot swallow a panic."""
    with pytest.raises(Panic, match=f"^{message}$") as caught:
        perform(parse(text)[0], "x")
    assert not isinstance(caught.value, Exception)


@pytest.mark.parametrize("name", ["ENOSPC", "EIO", "ENOENT", "EAGAIN"])
def test_raise_is_the_error_the_kernel_would_give(name: str) -> None:
    """The injected error has the class, number and message of a real one, and a note that says it is not."""
    code = getattr(errno, name)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        perform(parse(f"raise({name})")[0], "wal.sync")
    assert (type(caught.value), caught.value.args) == (type(OSError(code, "")), (code, os.strerror(code)))
    assert caught.value.__notes__ == ["injected by failpoint wal.sync"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("print", "failpoint x executed."), ("print(100% %s)", "100% %s"), ("print()", "")],
)
def test_print_logs_at_info(text: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """`print` goes to the logger `faults` at INFO, its message taken literally."""
    with caplog.at_level(logging.INFO, logger="faults"):
        assert perform(parse(text)[0], "x") is None
    assert caplog.record_tuples == [("faults", logging.INFO, message)]


def times_of(text: str) -> tuple[float, float]:
    """Wall and own CPU milliseconds that performing the term takes."""
    wall, cpu = time.monotonic_ns(), time.thread_time_ns()
    assert perform(parse(text)[0], "x") is None
    return (time.monotonic_ns() - wall) / 1e6, (time.thread_time_ns() - cpu) / 1e6


def test_sleep_and_delay_take_milliseconds() -> None:
    """`sleep` and `delay` take at least as many milliseconds as they say; only `delay` keeps the CPU busy."""
    sleep_wall, sleep_cpu = times_of("sleep(60)")
    delay_wall, delay_cpu = times_of("delay(60)")
    assert 60 <= sleep_wall < 60_000
    assert 60 <= delay_wall < 60_000
    assert sleep_cpu < 3 < delay_cpu


def test_yield_gives_up_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`yield` lets the scheduler run another thread."""
    calls: list[str] = []
    monkeypatch.setattr(os, "sched_yield", lambda: calls.append("sched_yield"))
    assert perform(parse("yield")[0], "x") is None
    assert calls == ["sched_yield"]
