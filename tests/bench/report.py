"""The report: medians, the spread over the rounds, and ratios within each round."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

WAL = "KiB of WAL"
MEMORY = "KiB of memory"
# Whether more is better. Other units are not compared.
MORE_IS_BETTER = {"messages/s": True, "ms": False, WAL: False, MEMORY: False}
HEADINGS = ("entry", "case", "target", "median [min .. max]", "threadline is better by")


@dataclass
class Row:
    """The samples of one target in one case, one per round.

    Attributes:
        ratios: of each round, how many times better the case's first target did.
    """

    entry: str
    case: str
    unit: str
    target: str
    samples: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """The row as text, under `HEADINGS`."""
        ratio = f"{summary(self.ratios)} x" if self.ratios else ""
        return self.entry, self.case, self.target, f"{summary(self.samples)} {self.unit}", ratio


@dataclass
class Report:
    """Collects samples.

    Attributes:
        failures: sentences about forbidden results.
        remarks: sentences about the run.
        waits: for each wait for a quiet machine, whether it became quiet.
    """

    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    waits: list[bool] = field(default_factory=list)
    _cases: dict[tuple[str, str, str], dict[str, Row]] = field(default_factory=dict)

    def add(self, entry: str, case: str, unit: str, target: str, sample: float) -> None:
        """Add what was measured in one round."""
        rows = self._cases.setdefault((entry, case, unit), {})
        rows.setdefault(target, Row(entry, case, unit, target)).samples.append(sample)

    def remark(self, sentence: str) -> None:
        """Add a remark, unless it has been made."""
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    def rows(self) -> Iterator[Row]:
        """What was measured, case by case."""
        for (_, _, unit), rows in self._cases.items():
            first, *others = rows.values()
            for row in others if unit in MORE_IS_BETTER else ():
                pairs = zip(first.samples, row.samples, strict=True)
                row.ratios = [ours / theirs if MORE_IS_BETTER[unit] else theirs / ours for ours, theirs in pairs]
            yield from rows.values()

    def table(self) -> str:
        """All of it as a table in Markdown, then the remarks and failures."""
        lines = [HEADINGS, *(row.cells() for row in self.rows())]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, tuple("-" * width for width in widths))
        table = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([*(f"| {line} |" for line in table), "", *self.remarks, *self.failures])

    def json(self) -> str:
        """All of it with every sample."""
        rows = [asdict(row) for row in self.rows()]
        content = {"rows": rows, "remarks": self.remarks, "failures": self.failures}
        return json.dumps(content, ensure_ascii=False, indent=1)


def summary(values: Sequence[float]) -> str:
    """The median, and the least and the greatest where there are several."""
    spread = f" [{number(min(values))} .. {number(max(values))}]" if len(values) > 1 else ""
    return number(median(values)) + spread


def number(value: float) -> str:
    """Format with three significant digits, or all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.3g}"
