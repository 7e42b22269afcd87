"""Appending messages to conversations of several lengths: time and WAL."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from tests.bench import machine, texts
from tests.bench.ingest import judge
from tests.bench.report import WAL, Report
from tests.bench.setting import EDGE
from tests.bench.sizes import Sizes
from tests.bench.world import SOURCE_TEXTS, Target, World, conversation

STEADY = 0.05  # growth after which a fresh copy replaces a conversation


@dataclass(frozen=True)
class Append:
    """Messages to append at once to a copy of the long conversation, from index `start` on."""

    target: Target
    copy: str
    start: int
    added: int

    def run(self, world: World, report: Report) -> tuple[float, float]:
        """Append; return milliseconds and KiB of WAL."""
        messages = texts.messages(SOURCE_TEXTS, self.start, self.added)
        request = self.target.request(conversation(self.copy, messages))
        position = world.wal_position()
        (answer,), _ = self.target.send([request])
        written = world.wal_position() - position
        judge(self.target, "growth", [answer], self.added, report)
        return answer.milliseconds, written / 1024


def plan(target: Target, name: str, length: int, appends: Mapping[int, int]) -> Iterator[Append]:
    """Plan appends of each size to conversations of a length; replace copies that have grown too much."""
    copy, grown = 0, 0
    for added, times in appends.items():
        for _ in range(times):
            if grown and grown + added > length * STEADY:
                copy, grown = copy + 1, 0
            yield Append(target, f"{name}, copy {copy}", length + grown, added)
            grown += added


# Appends of one size to conversations of one length by one target. The last one runs after a checkpoint.
Cases = dict[tuple[int, int, Target], list[Append]]


def measure(world: World, sizes: Sizes, report: Report) -> None:
    """Append to new copies of one long conversation in each round, and finally once after a checkpoint."""
    world.fill(max(sizes.lengths))
    for number in range(sizes.rounds):
        # Every touched page was written after this checkpoint, so WAL gets no full-page images.
        world.checkpoint()
        cases = prepare(world, sizes, number)
        world.settle()
        append(world, sizes, report, cases)
        append_after_checkpoints(world, report, cases)


def prepare(world: World, sizes: Sizes, number: int) -> Cases:
    """Plan the appends of a round and create their conversations."""
    cases: Cases = {}
    # The Edge Function makes the same database call as the service.
    targets = [target for target in world.targets if target.name != EDGE]
    appends = {added: times + 1 for added, times in sizes.appends.items()}
    for length in machine.rotated(sizes.lengths, number):
        for target in machine.rotated(targets, number):
            if target.is_ours or length <= sizes.longest_array:
                planned = list(plan(target, f"{target.name} {number} {length}", length, appends))
                for copy in dict.fromkeys(append.copy for append in planned):
                    world.copy(target.store, copy, length)
                for step in planned:
                    cases.setdefault((step.added, length, target), []).append(step)
    return cases


def append(world: World, sizes: Sizes, report: Report, cases: Cases) -> None:
    """Measure the appends of a round; compare the longest conversation with the shortest."""
    took: dict[tuple[int, str], dict[int, float]] = defaultdict(dict)
    for (added, length, target), steps in cases.items():
        report.waits.append(machine.becomes_quiet(sizes.quiet))
        samples = machine.for_a_second(step.run(world, report) for step in steps[:-1])
        milliseconds, written = (median(column) for column in zip(*samples, strict=True))
        report.add("growth", f"{added:,} onto {length:,}", "ms", target.name, milliseconds)
        report.add("growth", f"{added:,} onto {length:,}", WAL, target.name, written)
        took[added, target.name][length] = milliseconds
    for (added, name), by_length in took.items():
        shortest, longest = min(by_length), max(by_length)
        case = f"{added:,} onto {longest:,} / onto {shortest:,}"
        report.add("growth", case, "x", name, by_length[longest] / by_length[shortest])


def append_after_checkpoints(world: World, report: Report, cases: Cases) -> None:
    """Measure the most WAL of an append: a full-page image of each touched page."""
    for (added, length, target), steps in cases.items():
        if target.is_ours:
            world.checkpoint()
            _, written = steps[-1].run(world, report)
            report.add("growth", f"{added:,} onto {length:,}, first after a checkpoint", WAL, target.name, written)
