"""Errors in the use of a failpoint, its name or its actions, and the exception that `panic` raises.

    FaultsError
    ├── InvalidAction     (also ValueError)   text that is not in the action language
    ├── InvalidName       (also ValueError)   a failpoint name that could not be configured from a text
    ├── AlreadyDeclared                       one name, two declarations
    ├── NotDeclared       (also LookupError)  a question about an undeclared failpoint
    └── ScenarioNotHit                        a scenario that could not have failed
    Panic (BaseException, on purpose outside the tree)

Each error keeps its arguments in `args`, so that it survives pickling on its way out of a child process.
"""

__all__ = ["AlreadyDeclared", "FaultsError", "InvalidAction", "InvalidName", "NotDeclared", "Panic", "ScenarioNotHit"]


class FaultsError(Exception):
    """Base of every error the `faults` package raises about its own use; injected errors never derive from it."""


class InvalidAction(FaultsError, ValueError):
    """A text is not in the action language, or not in the `name=actions;name=actions` form around it.

    `text` is the whole text, `column` the offending character counted from 1, `problem` the cause and `remedy` the
    next step. `str()` draws the text with a caret under the column; `one_line` says the same without a line break.
    """

    def __init__(self, text: str, column: int, problem: str, remedy: str) -> None:
        super().__init__(text, column, problem, remedy)
        self.text, self.column, self.problem, self.remedy = text, column, problem, remedy

    @property
    def one_line(self) -> str:
        """The message as exactly one line, whatever the text contains."""
        return f"column {self.column} of {self.text!r}: {self.problem}; {self.remedy}"

    def __str__(self) -> str:
        # One column for each character, or the caret would be under the wrong one.
        drawn = "".join(
            character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in self.text
        )
        return f"column {self.column}: {self.problem}; {self.remedy}\n    {drawn}\n    {' ' * (self.column - 1)}^"


class InvalidName(FaultsError, ValueError):
    """A failpoint name is empty or contains whitespace, `=` or `;`, so no FAILPOINTS text could name it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"{self.name!r} cannot name a failpoint; write it without whitespace, '=' and ';', as in 'wal.before_sync'"
        )


class AlreadyDeclared(FaultsError):
    """A second declaration of a failpoint, or of a mark, differs from the first in place or description."""

    def __init__(self, name: str, first: str, second: str) -> None:
        super().__init__(name, first, second)
        self.name, self.first, self.second = name, first, second

    def __str__(self) -> str:
        return (
            f"{self.name!r} is declared at {self.first} and again, differently, at {self.second}; "
            "give one of them another name, or share one constant"
        )


class NotDeclared(FaultsError, LookupError):
    """No imported module has declared this failpoint. `similar` is a declared name close to it."""

    def __init__(self, name: str, similar: str | None = None) -> None:
        super().__init__(name, similar)
        self.name, self.similar = name, similar

    def __str__(self) -> str:
        hint = f"did you mean {self.similar!r}?" if self.similar else "import the module that declares it first"
        return f"no failpoint {self.name!r} is declared; {hint}"


class ScenarioNotHit(FaultsError):
    """A scenario's block ended without an error, but failpoints it named were never hit in it: the test could not have failed.

    `unhit` has the declared names, `undeclared` the others; both sorted.
    """

    def __init__(self, unhit: tuple[str, ...], undeclared: tuple[str, ...]) -> None:
        super().__init__(unhit, undeclared)
        self.unhit, self.undeclared = unhit, undeclared

    def __str__(self) -> str:
        parts = []
        if self.unhit:
            parts.append(f"never hit: {', '.join(self.unhit)} (does the block run the code they stand in?)")
        if self.undeclared:
            parts.append(f"never declared: {', '.join(self.undeclared)} (spelt right, module imported?)")
        return f"{'; '.join(parts)}; pass allow_unhit=True if that is meant"


class Panic(BaseException):
    """Raised by the action `panic`.

    A panic stands for a program that stops in the middle. It derives from BaseException because many engines have an
    `except Exception` that cleans up and continues, which a stopped program cannot do.
    Source: the `panic` task of the Rust crate fail (https://docs.rs/fail).
    """
