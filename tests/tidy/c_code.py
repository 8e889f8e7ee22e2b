"""Reads C source as far as the tidy rules need: includes, function definitions, their length, parameters and nesting.

It is a tokenizer and a statement walker, not a compiler: macros are taken as they are written. ``blank`` keeps every
line where it was, so that a finding can name it.
"""

import re
from dataclasses import dataclass

NO_LOOP = {"return", "sizeof"}  # words before (...) {...} that make no statement of it
LOOSE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass
class Function:
    """A function definition; ``length`` counts from its first line to its closing brace."""

    name: str
    line: int
    length: int
    parameter_count: int
    nesting: int


def blank(text: str, *, directives: bool = True) -> str:
    """``text`` with comments and literals (and preprocessor lines) emptied; line numbers stay."""

    def hollow(match: re.Match[str]) -> str:
        quote = match[0][0]
        return quote + quote if quote in "\"'" else " " + "\n" * match[0].count("\n")

    text = LOOSE.sub(hollow, text)
    return DIRECTIVE.sub(lambda match: "\n" * match[0].count("\n"), text) if directives else text


def includes(text: str) -> list[tuple[int, str, bool]]:
    """Each include as (line, name, is it a system header)."""
    uncommented = re.sub(r"/\*.*?\*/", lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL)
    found = INCLUDE.finditer(uncommented)
    return [(uncommented.count("\n", 0, match.start(1)) + 1, match[2], match[1] == "<") for match in found]


def functions(text: str) -> list[Function]:
    """Every function definition in ``text``, also inside ``extern "C" { }``."""
    tokens = [(word, number) for number, line in enumerate(blank(text).splitlines(), 1) for word in TOKEN.findall(line)]
    words = [word for word, _ in tokens]
    found, head, at = [], 0, 0
    while at < len(words):
        if words[at] == "{" and words[head:at] != ["extern", '"', '"']:
            end = closing(words, at)
            if is_definition(words[head:at]):
                first, last = tokens[head][1], tokens[end][1]
                name, count = signature(words[head:at])
                nesting = Walker(words[at : end + 1]).deepest()
                found.append(Function(name, first, last - first + 1, count, nesting))
                head = end + 1
            at = end
        elif words[at] in ("{", "}", ";"):
            head = at + 1
        at += 1
    return found


def closing(words: list[str], at: int) -> int:
    """Index of the bracket that closes the one at ``at``; the last index where none does."""
    opens, closes = words[at], {"{": "}", "(": ")", "[": "]"}[words[at]]
    depth = 0
    for index in range(at, len(words)):
        depth += (words[index] == opens) - (words[index] == closes)
        if depth == 0:
            return index
    return len(words) - 1


def is_definition(head: list[str]) -> bool:
    """Whether the words before a brace at file level are a function's, not those of a type or an initializer."""
    return bool(head) and head[-1] == ")" and "=" not in head and signature(head)[0] != ""


def signature(head: list[str]) -> tuple[str, int]:
    """Name and number of parameters of a function head; ``("", 0)`` where there is none."""
    at = 0
    while at < len(head):
        if head[at] == "(" and at > 0 and re.match(r"[A-Za-z_]", head[at - 1]) and head[at - 1] != "__attribute__":
            inside = head[at + 1 : closing(head, at)]
            return head[at - 1], 0 if inside in ([], ["void"]) else commas(inside) + 1
        at = closing(head, at) + 1 if head[at] == "(" else at + 1
    return "", 0


def commas(words: list[str]) -> int:
    """Commas in ``words`` that are in no bracket."""
    depth = count = 0
    for word in words:
        depth += (word in "([{") - (word in ")]}")
        count += word == "," and depth == 0
    return count


class Walker:
    """Walks the statements of one function body. Only ``if for while switch do`` nest; ``else if`` goes no deeper."""

    def __init__(self, words: list[str]) -> None:
        self.words = [*words, ";"]
        self.at = 0
        self.depth_max = 0

    def deepest(self) -> int:
        """The number of control statements around the innermost statement."""
        self.statement(0)
        return self.depth_max

    def statement(self, depth: int) -> None:
        """Step over one statement that has ``depth`` control statements around it."""
        word = self.word()
        if word == "{":
            self.at += 1
            while self.word() not in ("}", ""):
                self.statement(depth)
            self.at += 1
        elif word in ("if", "for", "while", "switch"):
            self.control(depth)
        elif word == "do":
            self.at += 1
            self.body(depth + 1)
        elif word in ("case", "default") or self.words[self.at + 1 : self.at + 2] == [":"]:
            self.at = self.words.index(":", self.at) + 1
        else:
            self.simple(depth)

    def control(self, depth: int) -> None:
        """Step over a control statement and what may follow an ``if``."""
        is_if = self.word() == "if"
        self.at = closing(self.words, self.at + 1) + 1
        self.body(depth + 1)
        if is_if and self.word() == "else":
            self.at += 1
            if self.word() == "if":
                self.control(depth)
            else:
                self.body(depth + 1)

    def body(self, depth: int) -> None:
        """Step over the statement that a control statement governs."""
        self.depth_max = max(self.depth_max, depth)
        self.statement(depth)

    def simple(self, depth: int) -> None:
        """Step over an expression or a declaration; ``NAME(...) {`` is a loop made by a macro."""
        is_call = re.match(r"[A-Za-z_]", self.word()) and self.words[self.at + 1 : self.at + 2] == ["("]
        if is_call and self.word() not in NO_LOOP and self.words[closing(self.words, self.at + 1) + 1 :][:1] == ["{"]:
            self.control(depth)
            return
        while self.word() not in (";", "}", ""):
            self.at = closing(self.words, self.at) + 1 if self.word() in ("(", "[", "{") else self.at + 1
        self.at += self.word() == ";"

    def word(self) -> str:
        """The word at hand; empty at the end."""
        return self.words[self.at] if self.at < len(self.words) else ""
