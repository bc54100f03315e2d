"""``python -m tinynn doctor``: what this machine has, whether the backends work on it, and what to do about the rest.

Nothing here raises: what cannot be found out is printed as that.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

from tinynn.doctor import advice, checks, facts


def report(wanted: str = "cpu") -> dict[str, Any]:
    """Everything: the sections, ``checks``, ``problems``, and whether the wanted backend ``works``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy's page about two wheels: it is said below, shorter
        whole: dict[str, Any] = {"settings": facts.section(facts.settings)}  # first: backends set variables of others
        results = checks.check_all()  # then this, which starts threads and fills caches
        whole |= {title: facts.section(make) for title, make in facts.SECTIONS.items()}
        listed = advice.problems(results, wanted)
    return whole | {"checks": results, "problems": listed, "works": results[wanted]["works"]}


def text(whole: dict[str, Any]) -> str:
    """The report for people."""
    lines = []
    for title in (*facts.SECTIONS, "settings"):
        lines.append(title)
        for name, value in whole[title].items():
            first, *rest = [str(item) for item in value] if isinstance(value, list) else [str(value)]
            lines.append(f"  {name:<28}{first}")
            lines += [f"  {'':<28}{line}" for line in rest]
        lines.append("")
    lines.append("a tiny model learns")
    for name, result in whole["checks"].items():
        lines.append(f"  {name:<28}{'yes' if result['works'] else 'no'}: {result['says']}")
    lines += ["", "what to do" if whole["problems"] else "No problem found."]
    for i, item in enumerate(whole["problems"], 1):
        lines += [f"  {i}. {item['problem']}", f"     -> {item['do']}"]
    return "\n".join(lines)


def main(wanted: str = "cpu", *, as_json: bool = False) -> int:
    """Print the report; the exit code is 0 when the wanted backend works."""
    whole = report(wanted)
    print(json.dumps(whole, indent=2) if as_json else text(whole))
    return 0 if whole["works"] else 1
