"""Make the repository's Markdown, with the links that it has on GitHub, pages of the site."""

import os
import re
from pathlib import Path, PurePosixPath

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

ROOT = Path(__file__).parents[2]

SHOWN = {
    "project/benchmarks": "benchmarks/README.md",
    "project/changelog": "CHANGELOG.md",
    "project/contributing": "CONTRIBUTING.md",
}
"""Pages that show a file from outside of docs/."""

PAGES = {path: f"docs/{page}.md" for page, path in SHOWN.items()} | {
    "README.md": "docs/index.md",
    "docs/README.md": "docs/index.md",
}
"""For files that are no page of their own, the page to link to."""

_LINK = re.compile(r"\]\((?!\w+:)([^)\s#]+)(#[^)\s]+)?\)")


def read_source(app: Sphinx, page: str, content: list[str]) -> None:
    """Take the file that a page shows, and turn links to files into links to pages."""
    source = SHOWN.get(page)
    if source is not None:
        app.env.note_dependency(str(ROOT / source))
        content[0] = (ROOT / source).read_text(encoding="utf-8")
    path = PurePosixPath(source or Path(app.env.doc2path(page)).relative_to(ROOT).as_posix())
    if path.suffix in (".md", ".ipynb"):
        folder = PurePosixPath("docs", page).parent
        content[0] = _LINK.sub(lambda link: _adapted(link, path.parent, folder), content[0])


def _adapted(link: re.Match[str], source: PurePosixPath, folder: PurePosixPath) -> str:
    """Rewrite a link of a file in the folder `source` for a page that lies in `folder`."""
    target, anchor = link[1], link[2] or ""
    path = os.path.normpath(source / target)
    if PAGES.get(path) == "docs/index.md":
        anchor = ""  # the README's headings are not the site's
    return f"]({os.path.relpath(PAGES.get(path, path), folder)}{anchor})"


def setup(app: Sphinx) -> dict[str, bool]:
    """Add this to Sphinx."""
    app.connect("source-read", read_source)
    app.connect("env-before-read-docs", _check)
    return {"parallel_read_safe": True}


def _check(app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
    """Refuse a page that shows a file but does not exist."""
    missing = SHOWN.keys() - env.found_docs
    if missing:
        raise FileNotFoundError(f"docs has no page {', '.join(sorted(missing))}")
