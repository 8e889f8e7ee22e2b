"""What mkdocs does not do by itself for the documentation site (mkdocs.yml, ``make docs-site``).

The pages of docs/ and the README files are written for a reader of the repository, with links as they are there. Here
the README files become pages, links that leave docs/ lead to those pages or to copies of the files, the reference is
made from the code (tools/docs_reference.py), and diagrams of state machines are drawn by Graphviz where it is there.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
from collections import Counter
from typing import Any

import docs_reference

ROOT = docs_reference.ROOT
DOCS = "docs"
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "examples/README.md": "examples.md",
}
"""Files outside docs/ that are pages of the site, by their address there."""
COPIES = "files"
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]*)(#[^)\s]*)?(\))")
CODE = re.compile(r"(^```.*?^```\s*?$|``.+?``|`[^`\n]+`)", re.M | re.S)
MERMAID = re.compile(r"^```mermaid\n(.*?)^```\n", re.M | re.S)
EDGE = re.compile(r"^\s*(\S+) --> (\S+?)(?: : .*)?$", re.M)
CAPTION = "Each arrow stands for all events that lead from one state to another; the table has them one by one."
STATE = re.compile(r'^\s*state "(.*)" as (\S+)', re.M)


def relink(text: str, home: str, copied: set[str]) -> str:
    """``text`` of the file ``home`` with its links as on the site; adds to ``copied`` the files that they lead to.

    Paths are those of the repository. Links to other hosts, and within the page, stay as they are.
    """

    def moved(found: re.Match[str]) -> str:
        begin, path, anchor, end = found[1], found[2], found[3] or "", found[4]
        if not path or ":" in path:
            return found[0]
        return f"{begin}{posixpath.relpath(site_path(path, home, copied), site_folder(home))}{anchor}{end}"

    parts = CODE.split(text)
    parts[::2] = [LINK.sub(moved, part) for part in parts[::2]]
    return "".join(parts)


def site_folder(home: str) -> str:
    return posixpath.dirname(PAGES.get(home, posixpath.relpath(home, DOCS))) or "."


def site_path(path: str, home: str, copied: set[str]) -> str:
    """Where the file is on the site that ``path`` names in the file ``home``."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(home), path))
    if (ROOT / target).is_dir():
        target = posixpath.join(target, "README.md")
    if target in PAGES:
        return PAGES[target]
    if target.startswith(f"{DOCS}/"):
        return posixpath.relpath(target, DOCS)
    copied.add(target)
    return f"{COPIES}/{target}"


def dot_text(mermaid: str) -> str:
    """A state diagram for Graphviz: one arrow for all events between two states, because the table has the events.

    Arrows into a state that more than a third of the states lead to are grey, and place nothing.
    """
    names = {name: title for title, name in STATE.findall(mermaid)}
    names["[*]"] = ""
    pairs = sorted({(begin, end) for begin, end in EDGE.findall(mermaid) if begin != end})
    into = Counter(end for _, end in pairs)
    lines = ["digraph {", 'bgcolor="transparent"', "nodesep=0.35", "ranksep=0.35"]
    lines.append(
        'node [shape=box, style="rounded,filled", fillcolor="#eef1fb", color="#3f51b5", fontname="sans-serif"]'
    )
    for name, title in names.items():
        shape = ' [shape=point, label="", width=0.15]' if name == "[*]" else f' [label="{title}"]'
        lines.append(f'"{name}"{shape}')
    for begin, end in pairs:
        often = into[end] > max(2, len(names) // 3)
        lines.append(f'"{begin}" -> "{end}"' + (' [color="#bbbbbb", constraint=false]' if often else ""))
    return "\n".join([*lines, "}", ""])


def draw(text: str) -> str:
    """``text`` with its diagrams as pictures, or as they are where there is no Graphviz."""
    return MERMAID.sub(lambda found: picture(found[1]) or f"```text\n{found[1]}```\n", text)


def picture(mermaid: str) -> str:
    if shutil.which("dot") is None:
        return ""
    done = subprocess.run(["dot", "-Tsvg"], input=dot_text(mermaid), capture_output=True, text=True, check=True)
    drawing = done.stdout[done.stdout.index("<svg") :]
    drawing = re.sub(r"<!--.*?-->\n?", "", drawing, flags=re.S).replace("\n\n", "\n")
    return f'<div class="diagram">\n{drawing.strip()}\n</div>\n\n{CAPTION}\n'


def on_config(config: Any) -> Any:
    """Put the examples into the menu where there are any."""
    if (ROOT / "examples/README.md").exists():
        guides = next(entry["Guides"] for entry in config.nav if "Guides" in entry)
        guides.insert(1, {"Examples": PAGES["examples/README.md"]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that do not lie in docs/, and copies of the files that pages link to."""
    from mkdocs.structure.files import File

    texts = {home: (ROOT / home).read_text(encoding="utf-8") for home in PAGES if (ROOT / home).exists()}
    for home, text in texts.items():
        files.append(File.generated(config, PAGES[home], content=text))
    for address, text in docs_reference.pages().items():
        files.append(File.generated(config, address, content=text))
    for path in sorted((ROOT / DOCS).rglob("*.md")):
        texts[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
    copied: set[str] = set()
    for home, text in texts.items():
        relink(text, home, copied)
    for path in sorted(copied):
        if (ROOT / path).is_file():
            files.append(File.generated(config, f"{COPIES}/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they are on the site, and diagrams as pictures."""
    address = page.file.src_uri
    if address.startswith("reference/"):
        return markdown
    homes = {address: home for home, address in PAGES.items()}
    return draw(relink(markdown, homes.get(address, f"{DOCS}/{address}"), set()))
