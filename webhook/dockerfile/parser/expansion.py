"""`$NAME`, `${NAME}` with its modifiers, quotes and escapes: how the words of a Dockerfile are expanded.

This is no shell but BuildKit's own lexer, followed to the letter. A variable may be *unknown*, because the base
image's ENV could set it; a word that needs its value is then unknown too, which is None.
Source: moby/buildkit frontend/dockerfile/shell/lex.go.
"""

import enum
import re
from collections.abc import Callable
from typing import Final

from webhook.dockerfile.parser.malformed import ParseError
from webhook.dockerfile.parser.pattern import Pattern
from webhook.image.golang import SPACE

DEPTH_LIMIT: Final = 100  # ${A:-${B:-…}} inside each other
_SPECIAL_PARAMETERS = "@*#?-$!"


class Missing(enum.Enum):
    """A variable that has no value: it is certainly unset, or only the base image's ENV could tell."""

    UNSET = enum.auto()
    UNKNOWN = enum.auto()


Lookup = Callable[[str], str | Missing]


class Budget:
    """The characters that all expansions of one Dockerfile may still write; `ENV A=$A$A` doubles them on every line."""

    def __init__(self, characters: int = 32 * 1024 * 1024) -> None:
        self._limit = self._left = characters

    def spend(self, characters: int) -> None:
        """Take from what is left; raises `ParseError` once it is too much."""
        self._left -= characters
        if self._left < 0:
            raise ParseError(f"the variables expand to more than {self._limit:,} characters; write the values out")


def unset(_name: str) -> Missing:
    """A look-up in which no variable has a value."""
    return Missing.UNSET


def expand(word: str, lookup: Lookup, escape: str, budget: Budget, *, quotes: bool = True) -> str | None:
    """One word expanded, its quotes and escapes gone; None where it depends on an unknown variable.

    `quotes=False` leaves quotes as they are, as in the body of a heredoc. Raises `ParseError` for what BuildKit refuses.
    """
    return _Scanner(word, lookup, escape, budget, quotes=quotes).read()


def expand_words(word: str, lookup: Lookup, escape: str, budget: Budget) -> tuple[str, ...] | None:
    """A text with its variables expanded, then split at the spaces that are not quoted; spaces from variables split too."""
    scanner = _Scanner(word, lookup, escape, budget)
    return None if scanner.read() is None else tuple(scanner.words)


def split_words(text: str, *, raw: bool) -> tuple[str, ...]:
    """Split at unquoted spaces and expand nothing; `raw` keeps quotes and escapes. For the words of heredocs."""
    scanner = _Scanner(text, unset, "\\", Budget(), raw_quotes=raw, raw_escapes=raw, keep_unset=True)
    scanner.read()
    return tuple(scanner.words)


class _Text:
    """A text that grows, and is unknown from the first unknown piece on."""

    def __init__(self) -> None:
        self._pieces: list[str] | None = []

    def add(self, piece: str | None) -> None:
        if piece is None:
            self._pieces = None
        elif self._pieces is not None:
            self._pieces.append(piece)

    def value(self) -> str | None:
        return None if self._pieces is None else "".join(self._pieces)


class _Scanner:
    """Reads one text from left to right; `words` holds its words afterwards."""

    def __init__(
        self,
        text: str,
        lookup: Lookup,
        escape: str,
        budget: Budget,
        *,
        quotes: bool = True,
        raw_quotes: bool = False,
        raw_escapes: bool = False,
        keep_unset: bool = False,
    ) -> None:
        self._text = text.removeprefix("\ufeff")  # Go's scanner skips a byte order mark
        self._position = 0
        self._depth = 0
        self._lookup = lookup
        self._escape = escape
        self._budget = budget
        self._quotes = quotes
        self._raw_quotes = raw_quotes
        self._raw_escapes = raw_escapes
        self._keep_unset = keep_unset
        self._word: list[str] = []
        self._in_word = False
        self.words: list[str] = []

    def read(self) -> str | None:
        """The whole text, expanded."""
        value = self._until("")
        self._end_word()
        return value

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _next(self) -> str:
        character = self._peek()
        self._position += 1
        return character

    def _run(self, plain: re.Pattern[str]) -> str:
        """The characters here that mean nothing, if there are any."""
        found = plain.match(self._text, self._position)
        if found is None:
            return ""
        self._position = found.end()
        self._budget.spend(len(found[0]))
        return found[0]

    def _until(self, stop: str, *, raw_escapes: bool | None = None, pattern: bool = False) -> str | None:
        """Up to `stop`, or to the end where that is empty.

        `pattern` doubles escapes inside quotes, for what reads the result as a pattern once more.
        """
        before = self._raw_escapes
        self._raw_escapes = before if raw_escapes is None else raw_escapes
        result = _Text()
        plain = _plain(self._escape + stop, quotes=self._quotes)
        while self._position < len(self._text):
            if run := self._run(plain):
                result.add(run)
                self._split(run)
                continue
            character = self._peek()
            if character == stop:
                self._position += 1
                self._raw_escapes = before
                return result.value()
            if character == "$":
                value = self._dollar()
                self._budget.spend(len(value or ""))
                result.add(value)
                self._split(value or "")
            elif character == "<":
                opening = self._heredoc()
                result.add(opening)
                self._keep(opening)
            elif character == self._escape:
                self._position += 1
                kept = character if self._raw_escapes else ""
                escaped = self._next()
                result.add(kept + escaped)
                if kept or escaped:
                    self._keep(kept + escaped)
            else:
                quoted = self._single(pattern=pattern) if character == "'" else self._double(pattern=pattern)
                result.add(quoted)
                self._keep(quoted or "")
        self._raw_escapes = before
        if stop:
            raise ParseError(f"a substitution has no closing {stop}; write ${{NAME}}")
        return result.value()

    def _split(self, text: str) -> None:
        """Add to the words, and end one at every space."""
        for index, part in enumerate(re.split(f"[{SPACE}]", text)):
            if index and self._in_word and self._word:
                self._end_word()
            if part:
                self._keep(part)

    def _keep(self, text: str) -> None:
        """Add to the word as it is, spaces included."""
        self._word.append(text)
        self._in_word = True

    def _end_word(self) -> None:
        if word := "".join(self._word):
            self.words.append(word)
            self._word.clear()
            self._in_word = False

    def _single(self, *, pattern: bool) -> str:
        end = self._text.find("'", self._position + 1)
        if end < 0:
            raise ParseError("a single quote has no closing one")
        inside = self._text[self._position + 1 : end]
        self._position = end + 1
        self._budget.spend(len(inside))
        if pattern:
            inside = inside.replace(self._escape, self._escape * 2)
        return f"'{inside}'" if self._raw_quotes else inside

    def _double(self, *, pattern: bool) -> str | None:
        """Only a dollar, and an escape before a double quote, a dollar or itself, mean anything inside."""
        self._position += 1
        mark = '"' if self._raw_quotes else ""
        result = _Text()
        result.add(mark)
        plain = _plain(self._escape, inside=True)
        while self._position < len(self._text):
            if run := self._run(plain):
                result.add(run)
                continue
            character = self._peek()
            if character == "$":
                value = self._dollar()
                self._budget.spend(len(value or ""))
                result.add(value)
                continue
            self._position += 1
            if character == '"':
                result.add(mark)
                return result.value()
            following = self._peek()
            if following and following in f'"${self._escape}':
                self._position += 1
                result.add((character if self._raw_escapes else "") + following)
            elif following:
                doubled = self._raw_escapes and (pattern or not self._raw_quotes)
                result.add(character * 2 if doubled else character)
        raise ParseError("a double quote has no closing one")

    def _heredoc(self) -> str:
        """`<`, or `<<` with the blanks behind it: the name of a heredoc belongs to the same word."""
        found = re.compile(r"<(?:<[\t\r ]*)?").match(self._text, self._position)
        assert found is not None  # noqa: S101 - the caller saw the `<`
        self._position = found.end()
        return found[0]

    def _name(self) -> str:
        """A name, all digits in a row, or one special parameter; empty where none of these follows."""
        start = self._position
        character = self._peek()
        if character.isdecimal():
            while self._peek().isdecimal():
                self._position += 1
        elif character and character in _SPECIAL_PARAMETERS:
            self._position += 1
        else:
            while (character := self._peek()).isalpha() or character.isdecimal() or character == "_":
                self._position += 1
        return self._text[start : self._position]

    def _dollar(self) -> str | None:
        """The value of what a dollar begins."""
        self._position += 1
        if self._peek() != "{":
            name = self._name()
            return self._plain(name, f"${name}") if name else "$"
        self._position += 1
        if self._peek() in ("", "{", "}", ":"):
            raise ParseError("${ is followed by no name; write ${NAME}")
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise ParseError(f"substitutions are nested more than {DEPTH_LIMIT} deep")
        value = self._braced()
        self._depth -= 1
        return value

    def _plain(self, name: str, written: str) -> str | None:
        """A variable's value as it is."""
        value = self._lookup(name)
        if value is Missing.UNSET:
            return written if self._keep_unset else ""
        return value if isinstance(value, str) else None

    def _braced(self) -> str | None:
        """The expansion behind `${`."""
        name = self._name()
        modifier = self._next()
        if modifier == "}":
            return self._plain(name, f"${{{name}}}")
        if modifier == "/":
            return self._substituted(name)
        colon = modifier == ":"
        if colon:
            modifier = self._next()
        matching = modifier in ("#", "%")
        if (not colon and modifier not in ("+", "-", "?", "#", "%")) or not modifier or (colon and matching):
            raise ParseError(f"${{{name}…}} has the unsupported modifier {':' * colon + modifier!a}")
        word = self._nested("}", raw_escapes=matching, pattern=matching)
        value = self._lookup(name)
        if self._keep_unset and value is Missing.UNSET:
            return f"${{{name}{':' * colon}{modifier}{word}}}"
        if modifier not in ("+", "-", "?", "#", "%"):
            raise ParseError(f"${{{name}…}} has the unsupported modifier {':' + modifier!a}")
        if value is Missing.UNKNOWN:
            return "" if modifier == "+" and word == "" else None
        empty = value is Missing.UNSET or (colon and value == "")
        plain = "" if isinstance(value, Missing) else value
        if modifier == "-":
            return word if empty else plain
        if modifier == "+":
            return "" if empty else word
        if modifier == "?":
            if empty:
                kind = "unset" if value is Missing.UNSET else "empty"
                quoted_word = f" ({word[:80]!a})" if word else ""
                raise ParseError(
                    f"{name} is {kind}, and the file demands it{quoted_word}; give it a value, as with --build-arg"
                )
            return plain
        return None if word is None else self._trimmed(plain, modifier, word)

    def _trimmed(self, value: str, modifier: str, word: str) -> str:
        longest = word.startswith(modifier)
        source = word.removeprefix(modifier)
        self._budget.spend(len(value) * len(source))
        pattern = Pattern.parse(source)
        trim = pattern.trim_prefix if modifier == "#" else pattern.trim_suffix
        return trim(value, longest=longest)

    def _substituted(self, name: str) -> str | None:
        """`${NAME/pattern/replacement}`, and with two slashes in front every match."""
        every = self._peek() == "/"
        self._position += every
        source = self._nested("/", raw_escapes=True, pattern=True)
        replacement = self._nested("}", raw_escapes=True, pattern=False)
        value = self._lookup(name)
        if self._keep_unset and value is Missing.UNSET:
            return f"${{{name}/{source}/{replacement}}}"
        if source is None or replacement is None or value is Missing.UNKNOWN:
            return None
        plain = "" if isinstance(value, Missing) else value
        self._budget.spend(len(plain) * len(source) + (len(plain) + 1) * len(replacement))
        return Pattern.parse(source).replace(plain, replacement, every=every)

    def _nested(self, stop: str, *, raw_escapes: bool, pattern: bool) -> str | None:
        """The word inside a substitution. BuildKit keeps one buffer for words at all depths: the word around is lost."""
        in_word, words = self._in_word, len(self.words)
        self._word.clear()
        value = self._until(stop, raw_escapes=raw_escapes, pattern=pattern)
        self._word.clear()
        self._in_word = in_word
        del self.words[words:]
        return value


def _plain(special: str, *, quotes: bool = True, inside: bool = False) -> re.Pattern[str]:
    """Runs of characters that mean nothing: what is left is read one at a time."""
    marks = '"$' if inside else "$<'\"" if quotes else "$<"
    return re.compile(f"[^{re.escape(marks + special)}]+")
