"""What a run looks like in a terminal: a table of stages, with what runs and what failed."""

import time
from collections.abc import Iterable, Iterator

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from treasure.progress.overview import Branch, Overview, StageProgress

__all__ = ["RunTable", "duration", "failed_lines"]

_MOST_ROWS = 20
_MOST_RUNNING = 4
_MOST_FAILED = 3

_STATES = {
    "running": ("running", "bold cyan"),
    "complete": ("complete", "bold green"),
    "failed": ("ended, not complete", "bold red"),
    "killed": ("killed; the same command goes on where it stopped", "bold red"),
}


def duration(seconds: float) -> str:
    """Seconds in a few characters: ``12 s``, ``3:05``, ``2:10:00``, ``4 d 3 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 86_400:
        hours, rest = divmod(whole, 3600)
        minutes, rest = divmod(rest, 60)
        return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _state_line(overview: Overview) -> Text:
    """What the run is, and whether it lives."""
    plan = overview.plan
    name, style = _STATES.get(overview.state, ("", ""))
    if overview.state == "silent":
        name, style = f"no sign of life for {duration(overview.silent)}", "bold red"
        if plan.process.get("host"):
            name += f" (on {plan.process['host']})"
    about = f"  {plan.version}, {plan.config}  since {_clock(plan.started)}  "
    return Text.assemble((plan.task, "bold"), (about, "dim"), (name, style))


def _clock(seconds: float) -> str:
    """Time of the day; with the day if it was another one."""
    then = time.localtime(seconds)
    today = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", then)


class RunTable:
    """A run, in as many lines as there is room for, in any width.

    Parameters
    ----------
    overview
        What is shown.
    most_rows
        Lines at most, besides the first one and the names of the columns.
    failures
        Whether to name branches that failed.
    """

    def __init__(
        self, overview: Overview, most_rows: int = _MOST_ROWS, *, failures: bool = True
    ) -> None:
        self.overview = overview
        self.most_rows = most_rows
        self.failures = failures

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, plain = options.max_width, options.ascii_only
        room = min(self.most_rows, max(console.height - 4, 3)) if console.is_terminal else 10_000
        stages = self.overview.stages
        active = [s for s in stages if s.running or s.failed]
        running = [(s, b) for s in active for b in s.running if s.stage.parts != ("",)]
        failed = [(s, b) for s in active for b in s.failed if self.failures]
        shown_running = running[:_MOST_RUNNING]
        shown_failed = failed[:_MOST_FAILED]
        more = len(failed) > len(shown_failed)
        below = len(shown_running) + 2 * len(shown_failed) + more
        shown = _fitting(stages, max(room - below, 3))

        parts: list[RenderableType] = [_cut(_state_line(self.overview))]
        parts.append(_table(shown, width, plain))
        hidden = _without(stages, shown)
        if hidden:
            parts.append(_cut(_hidden(hidden)))
        parts += [_cut(_running_line(s, b, plain)) for s, b in shown_running]
        for stage, branch in shown_failed:
            parts += [_cut(line) for line in failed_lines(stage, branch, plain)]
        if more:
            parts.append(Text(f"  and {len(failed) - len(shown_failed):,} more failed", "red"))
        yield Group(*parts)


def failed_lines(stage: StageProgress, branch: Branch, plain: bool) -> Iterator[Text]:
    """Why a branch failed, and where its output is."""
    label = branch.record.label or f"{stage.stage.task} {stage.stage.dataset} {branch.name}"
    mark = "x" if plain else "✗"
    yield Text.assemble((f"  {mark} {label}: ", "bold red"), branch.record.error or "failed")
    where = branch.record.log or f"on the terminal of {branch.record.process.get('host', '?')}"
    yield Text(f"    log: {where}", "dim")


def _cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _fitting(stages: tuple[StageProgress, ...], room: int) -> list[StageProgress]:
    """The stages that matter most now, in their order: at work, then next, then just done."""
    if len(stages) <= room:
        return list(stages)
    active = [s for s in stages if s.running or s.failed]
    rest = _without(stages, active)
    waiting = [s for s in rest if not s.complete]
    done = [s for s in rest if s.complete]
    chosen = [*active, *waiting[:2], *reversed(done), *waiting[2:]][:room]
    return _without(stages, _without(stages, chosen))


def _without(stages: Iterable[StageProgress], left: Iterable[StageProgress]) -> list[StageProgress]:
    out = {stage.stage.directory for stage in left}
    return [stage for stage in stages if stage.stage.directory not in out]


def _hidden(hidden: list[StageProgress]) -> Text:
    done = sum(s.complete for s in hidden)
    parts = [f"{done} done"] if done else []
    parts += [f"{len(hidden) - done} not yet done"] if len(hidden) > done else []
    return Text(f"  and {', '.join(parts)}", "dim")


def _table(stages: list[StageProgress], width: int, plain: bool) -> Table:
    wide, roomy = width >= 78, width >= 100
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", width=1)
    # Columns that may wrap give way first where there is no room; their cells are cut instead.
    table.add_column("stage", min_width=8)
    datasets = width >= 40 and any(s.stage.dataset for s in stages)
    if datasets:
        table.add_column("dataset", max_width=20, min_width=4)
    if wide:
        table.add_column("", width=20 if roomy else 8)
    table.add_column("branches", justify="right", no_wrap=True)
    if width >= 60:
        table.add_column("at work", justify="right", no_wrap=True)
    if wide:
        table.add_column("done", justify="right", no_wrap=True)
    if width >= 40:
        table.add_column("rate", justify="right", no_wrap=True)
    table.add_column("left", justify="right", no_wrap=True)
    for stage in stages:
        row: list[RenderableType] = [_mark(stage, plain), _cut(Text(stage.stage.task))]
        if datasets:
            row.append(_cut(Text(stage.stage.dataset)))
        if wide:
            row.append(_bar(stage, 20 if roomy else 8, plain))
        row.append(_branches(stage))
        if width >= 60:
            row.append(_at_work(stage, plain))
        if wide:
            row.append(_count(stage))
        if width >= 40:
            row.append("" if stage.rate is None else f"{_short(stage.rate)}/s")
        row.append("" if stage.left is None else duration(stage.left))
        waits = not (stage.running or stage.failed or stage.complete or stage.done)
        table.add_row(*row, style="dim" if waits else "")
    return table


def _mark(stage: StageProgress, plain: bool) -> Text:
    if stage.failed:
        return Text("x" if plain else "✗", "bold red")
    if stage.complete:
        return Text("+" if plain else "✓", "green")
    if stage.running:
        silent = any(b.silent for b in stage.running)
        return Text("?" if silent else ">" if plain else "▸", "yellow" if silent else "bold cyan")
    return Text("-" if plain else "·", "dim")


def _bar(stage: StageProgress, width: int, plain: bool) -> Text:
    full, empty = ("#", "-") if plain else ("━", "─")
    filled = int(stage.fraction * width)
    style = "red" if stage.failed else "green" if stage.complete else "cyan"
    return Text.assemble((full * filled, style), (empty * (width - filled), "bright_black"))


def _branches(stage: StageProgress) -> str:
    if stage.total is None:
        return "?"
    if stage.stage.parts == ("",):
        return f"{stage.fraction:.0%}" if stage.running or stage.complete else ""
    return f"{stage.done:,}/{stage.total:,}"


def _at_work(stage: StageProgress, plain: bool) -> Text:
    text = Text(f"{len(stage.running):,}" if stage.running else "")
    if stage.failed:
        text.append(" " if stage.running else "")
        text.append(f"{len(stage.failed):,} {'x' if plain else '✗'}", "bold red")
    return text


def _count(stage: StageProgress) -> str:
    if not stage.unit or not stage.count:
        return ""
    return f"{'>' if stage.partial else ''}{_short(stage.count)} {stage.unit}"


def _running_line(stage: StageProgress, branch: Branch, plain: bool) -> Text:
    record = branch.record
    parts = [f"{record.fraction:.0%}" if record.total else "started"]
    if record.unit and record.total:
        parts.append(f"{_short(record.done)} of {_short(record.total)} {record.unit}")
    if branch.left is not None:
        parts.append(f"{duration(branch.left)} left")
    text = Text.assemble(
        ("  > " if plain else "  ▸ ", "cyan"), record.label or branch.name, ("  ", ""),
        (", ".join(parts), "dim"),
    )  # fmt: skip
    if branch.silent:
        text.append(f"  no sign of life for {duration(branch.silent)}", "yellow")
    return text


def _short(number: float) -> str:
    """A count in at most six characters: ``9,999``, ``170k``, ``2.10G``."""
    if number < 10:
        return f"{number:.2g}"
    if number < 10_000:
        return f"{number:,.0f}"
    unit = ""
    while number >= 1000 and unit != "T":
        number, unit = number / 1000, {"": "k", "k": "M", "M": "G", "G": "T"}[unit]
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f}{unit}"
