"""What ``kvspic doctor`` found: one finding a line, with the remedy, and without what a bug report must not show. Pure.

A finding is ``ok``, ``warn`` (it works, and something should be mended), ``fail``, or ``skip`` (it could not be looked
at, because something before it failed). A :class:`Report` takes secrets out of each text before anyone sees it.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from kvspic.commands.exits import ExitCode
from kvspic.provider.results import without_secrets

__all__ = ["Finding", "Level", "Redactor", "Report", "cause_and_remedy"]

NAME_WIDTH = 14
SECRET_SIZE_MIN = 6  # what is shorter is a dummy such as "local", and a part of ordinary words
ACCOUNT = re.compile(r"(?<![\w.-])\d{12}(?![\w.-])")


class Level(enum.Enum):
    """How good or bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Finding:
    """One line. ``code`` is what the command ends with if this is the first failure."""

    check: str
    level: Level
    text: str
    remedy: str = ""
    code: ExitCode = ExitCode.INCOMPLETE

    def line(self) -> str:
        """Return the finding as people read it."""
        remedy = f": {self.remedy}" if self.remedy else ""
        return f"{self.level.value:<5} {self.check:<{NAME_WIDTH}} {self.text}{remedy}"


def cause_and_remedy(error: object) -> tuple[str, str]:
    """Split the one sentence of an error of kvspic, which ends with what to do."""
    text = str(error).rstrip(".")
    for mark in ("; ", ": "):
        cause, found, remedy = text.rpartition(mark)
        if found:
            return cause, remedy
    return text, ""


class Redactor:
    """Takes out of a text: the keys and tokens that it knows, everything that looks like one, account numbers, the
    user's folder, and proxies that have a password."""

    def __init__(self, home: str = "") -> None:
        self._names: dict[str, str] = {}
        if len(home) > 1:
            self._names[home] = "~"

    def hide(self, secret: str | None, name: str) -> None:
        """Show ``<name>`` for this secret from now on."""
        if secret and len(secret) >= SECRET_SIZE_MIN:
            self._names[secret] = f"<{name}>"

    def hide_proxy(self, url: str) -> None:
        """Hide a proxy if its URL has a password: user, password, and the host, which says where they are good for."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port, password = parts.hostname, parts.port, parts.password
        except ValueError:
            return
        if password is None or host is None:
            return
        self._names[f"{host}:{port}" if port else host] = "<proxy>"
        self._names[host] = "<proxy>"
        self._names[parts.netloc] = "<proxy>"
        self.hide(password, "password")
        self.hide(unquote(password), "password")

    def __call__(self, text: str) -> str:
        for secret in sorted(self._names, key=len, reverse=True):
            text = text.replace(secret, self._names[secret])
        return ACCOUNT.sub("<account>", without_secrets(_account_of_arn(text)))


def _account_of_arn(text: str) -> str:
    """An ARN has the account between colons, and may go on with a word."""
    return re.sub(r"(arn:[\w-]*:[\w-]*:[\w-]*:)\d{12}", r"\1<account>", text)


class Report:
    """The findings in the order in which they were made; ``show`` gets each one at once."""

    def __init__(self, redactor: Redactor, show: Callable[[Finding], None]) -> None:
        self.redactor = redactor
        self.findings: list[Finding] = []
        self._show = show

    def ok(self, check: str, text: str) -> None:
        """Add what is as it should be."""
        self._add(Finding(check, Level.OK, text))

    def warn(self, check: str, text: str, remedy: str) -> None:
        """Add what works and should be mended."""
        self._add(Finding(check, Level.WARN, text, remedy))

    def fail(self, check: str, text: str, remedy: str, code: ExitCode) -> None:
        """Add what does not work."""
        self._add(Finding(check, Level.FAIL, text, remedy, code))

    def skip(self, check: str, why: str) -> None:
        """Add what could not be looked at."""
        self._add(Finding(check, Level.SKIP, f"not checked, because {why}"))

    def _add(self, finding: Finding) -> None:
        clean = Finding(
            finding.check, finding.level, self.redactor(finding.text), self.redactor(finding.remedy), finding.code
        )
        self.findings.append(clean)
        self._show(clean)

    @property
    def code(self) -> ExitCode:
        """That of the first failure, OK without one."""
        return next((finding.code for finding in self.findings if finding.level is Level.FAIL), ExitCode.OK)

    def summary(self) -> str:
        """Return the last line."""
        counts = {level: sum(finding.level is level for finding in self.findings) for level in Level}
        if counts[Level.FAIL]:
            names = ", ".join(finding.check for finding in self.findings if finding.level is Level.FAIL)
            return f"{counts[Level.FAIL]} of {len(self.findings)} checks failed ({names}); begin with the first."
        warned = f", {counts[Level.WARN]} with a warning" if counts[Level.WARN] else ""
        return f"Nothing failed: {counts[Level.OK] + counts[Level.WARN]} checks{warned}."

    def to_json(self, about: dict[str, str]) -> str:
        """Return one object: ``about``, the findings and the exit code."""
        found = [
            {"check": one.check, "level": one.level.value, "text": one.text, "remedy": one.remedy}
            for one in self.findings
        ]
        clean = {name: self.redactor(value) for name, value in about.items()}
        return json.dumps({**clean, "findings": found, "exit_code": int(self.code)})
