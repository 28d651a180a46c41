"""An asv plugin: `asv publish` also writes graphs.html, every curve as plain SVG.

asv's own pages load their JavaScript from the internet. Where that fails they go to error.html, which sends
the reader on to graphs.html.
"""

import html
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asv.publishing import OutputPublisher

WIDTH, HEIGHT, MARGIN = 300, 90, 6
HEAD = """<!DOCTYPE html><meta charset="utf-8"><title>fastpg: benchmarks over the history</title>
<style>body {font: 14px sans-serif; margin: 2em}
figure {display: inline-block; margin: 0 1em 1em 0; width: 305px; vertical-align: top}
figcaption {font-size: 12px}
polyline {fill: none; stroke: #247aad; stroke-width: 1.5} circle {fill: #247aad}
svg {border-left: 1px solid #999; border-bottom: 1px solid #999; background: #f8f8f8}</style>
<h1>fastpg: benchmarks over the history</h1>
<p>One graph a machine, whose name comes first, and one point a commit, in their order; every graph begins
at 0. Pointing at a point shows commit and value.
<a href="index.html">asv's own pages</a> compare more, but load their scripts from the internet.</p>
"""
SENT_ON = (
    '<!DOCTYPE html><meta http-equiv="refresh" content="0; url=graphs.html"><a href="graphs.html">on</a>\n'
)


def magnitude(value: float) -> str:
    """Four digits and an SI prefix."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g} {prefix}"
    return f"{value:.4g} "


def svg(points: list[tuple[str, float]]) -> Iterator[str]:
    """Draw values, labelled, at equal distances."""
    top = max(value for _, value in points) * 1.05 or 1
    step = (WIDTH - 2 * MARGIN) / max(1, len(points) - 1)
    places = [(MARGIN + i * step, HEIGHT * (1 - value / top)) for i, (_, value) in enumerate(points)]
    yield f'<svg width="{WIDTH}" height="{HEIGHT}">'
    yield '<polyline points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in places) + '"/>'
    for (x, y), (label, _) in zip(places, points, strict=True):
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{html.escape(label)}</title></circle>'
    yield "</svg>"


def measured_where(params: dict[str, Any], others: list[dict[str, Any]]) -> str:
    """Name the machine of a graph, and what tells it from the other graphs of that machine."""
    same_machine = [other for other in others if other.get("machine") == params.get("machine")]
    differing = [
        f"{key} {value}"
        for key, value in sorted(params.items())
        if any(other.get(key) != value for other in same_machine)
    ]
    return ", ".join([str(params.get("machine")), *differing])


class Graphs(OutputPublisher):
    """Writes graphs.html and error.html."""

    name = "graphs"
    button_label = "All graphs"
    description = "Every curve as plain SVG"
    order = 10

    @classmethod
    def publish(cls, conf: Any, repo: Any, benchmarks: Any, graphs: Any, revisions: dict[str, int]) -> None:
        """Called by asv."""
        commits = {revision: commit for commit, revision in revisions.items()}
        body = [HEAD]
        rates_first = sorted(
            benchmarks.items(), key=lambda item: ("steps_per_second" not in item[0], item[0])
        )
        for name, benchmark in rates_first:
            unit = str(benchmark.get("unit", ""))
            figures = list(cls.figures(repo, commits, benchmark, unit, graphs.get_graph_group(name)))
            if figures:
                body += [f"<h2>{html.escape(name)}, {html.escape(unit)}</h2>", *figures]
        folder = Path(conf.html_dir)
        (folder / "graphs.html").write_text("\n".join(body) + "\n")
        (folder / "error.html").write_text(SENT_ON)

    @staticmethod
    def figures(repo: Any, commits: dict[int, str], benchmark: Any, unit: str, group: Any) -> Iterator[str]:
        """Yield a figure for every machine or environment and every combination of parameters."""
        cases = list(itertools.product(*benchmark["params"])) or [()]
        graphs = [graph for graph in group if "summary" not in graph.params]
        for graph in graphs:
            where = measured_where(graph.params, [other.params for other in graphs])
            series: list[list[tuple[str, float]]] = [[] for _ in cases]
            for revision, values, *_ in graph.get_data():
                commit = commits[revision]
                date = datetime.fromtimestamp(repo.get_date(commit) / 1000, UTC)
                for points, value in zip(series, values if len(cases) > 1 else [values], strict=True):
                    if value is not None and value == value:
                        label = f"{commit[:8]}, {date:%Y-%m-%d %H:%M} UTC: {magnitude(value)}{unit}"
                        points.append((label, value))
            for case, points in zip(cases, series, strict=True):
                if points:
                    names = zip(benchmark["param_names"], case, strict=False)
                    parameters = [f"{name} {value}" for name, value in names]
                    title = ", ".join([where, *parameters]).replace("'", "")
                    last = f"{len(points)} commits, last {magnitude(points[-1][1]).strip()}"
                    yield "<figure>" + "".join(svg(points))
                    yield f"<figcaption>{html.escape(title)} ({last})</figcaption></figure>"
