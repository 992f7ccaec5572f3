"""What `mkdocs.yml` has done to each page while the site is built.

Formulas become MathML, so that pages load nothing to show them. They are written as GitHub reads them: `$...$` in a
line, a block fenced as `math` on its own. Arithmatex, an extension of Markdown, marks both; here they are converted,
and what cannot be fails the build. And in tables a number stays on one line, with its unit and with its exponent.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

MARKED = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
CELL = re.compile(r"(?<=<td)([^>]*>)([^<]*)")
BEFORE_EXPONENT = re.compile(r"(?<=\de-)(?=\d)")
BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|us|ms|s|mm|m|rad|deg|MB)(?!\w))")


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """The page with its formulas converted, and with no line broken inside a number of a table."""
    where = page.file.src_path
    content = MARKED.sub(lambda found: mathml(found[2], found[1] == "div", where), content)
    if 'class="arithmatex"' in content:
        raise PluginError(f"{where}: a formula was marked and not converted")
    return CELL.sub(lambda found: found[1] + unbroken(found[2]), content)


def unbroken(text: str) -> str:
    """Text with a space that does not break before each unit, and a joiner of words after the minus of an exponent."""
    return BEFORE_EXPONENT.sub("&#8288;", BEFORE_UNIT.sub("&nbsp;", text))


def mathml(escaped: str, block: bool, where: str) -> str:
    """One formula of the file `where`, given with the characters of HTML escaped."""
    formula = html.unescape(escaped).strip()
    result: str = convert(formula, display="block" if block else "inline")
    if "\\" in result:  # a command that the converter does not know stays as it is
        raise PluginError(f"{where}: cannot convert the formula {formula}")
    return f'<div class="formula">{result}</div>' if block else result
