"""Loads of many conversations, fresh and replayed, and one conversation with concurrent writers."""

from tests.bench import machine, texts
from tests.bench.load import Answer
from tests.bench.report import Report
from tests.bench.sizes import Sizes
from tests.bench.world import Target, World, conversation, results


def measure(world: World, sizes: Sizes, report: Report) -> None:
    """Fresh and replayed loads with each number of connections, then the race, in every round."""
    loads = Loads(sizes)
    for target in world.targets:  # warm-up: each target opens its database connections
        target.send(loads.requests(target, "warm-up")[: max(sizes.connections)], max(sizes.connections))
    for number in range(sizes.rounds):
        for connections in sizes.connections:
            for target in machine.rotated(world.targets, number):
                requests = loads.requests(target, f"{number}-{connections}")
                for phase, expected in (("fresh", loads.size), ("replayed", 0)):
                    report.waits.append(machine.becomes_quiet(sizes.quiet))
                    answers, seconds = target.send(requests, connections)
                    case = f"{phase}, {connections} at once"
                    report.add("ingest", case, "messages/s", target.name, loads.size / seconds)
                    judge(target, case, answers, expected, report)
        for target in machine.rotated(world.targets, number):
            race(world, sizes, report, target, f"race {target.name} {number}")


class Loads:
    """Requests of a given size. Loads share their messages and differ in their conversations."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        count = sizes.requests * sizes.conversations
        self._threads = [texts.messages(thread, 0, sizes.messages) for thread in range(count)]
        self.size = count * sizes.messages

    def requests(self, target: Target, name: str) -> list[bytes]:
        """Return the requests of one load, distinguished by its name."""
        conversations = [
            conversation(f"{target.name} {name} {number}", messages, f"+1555{number:07}")
            for number, messages in enumerate(self._threads)
        ]
        step = self._sizes.conversations
        return [target.request(*conversations[start : start + step]) for start in range(0, len(conversations), step)]


def judge(target: Target, case: str, answers: list[Answer], expected: int, report: Report) -> None:
    """Report rejected requests, and new messages that were not added."""
    found = [result for answer in answers for result in results(answer)]
    added = sum(result["messages_added"] for result in found)
    errors = {result["status"] for result in found if result["status"].startswith("error")}
    errors |= {f"HTTP {answer.status}" for answer in answers if answer.status != 200}
    if added != expected or errors:
        said = "; ".join(sorted(errors)) or "no error"
        sentence = f"{case}: {target.name} added {added:,} of {expected:,} new messages ({said})."
        if target.is_ours:
            report.failures.append(f"FAILED: {sentence}")
        else:
            report.remark(sentence)


def race(world: World, sizes: Sizes, report: Report, target: Target, thread: str) -> None:
    """Write one new conversation from the maximum number of connections, and count the stored messages."""
    batches = [texts.messages(0, number * sizes.messages, sizes.messages) for number in range(sizes.race)]
    requests = [target.request(conversation(thread, batch)) for batch in batches]
    answers, _ = target.send(requests, max(sizes.connections))

    sent = [message["id"] for batch in batches for message in batch]
    stored = [message["id"] for message in world.read(target.store, thread)]
    acknowledged = [
        message["id"]
        for batch, answer in zip(batches, answers, strict=True)
        if sum(result["messages_added"] for result in results(answer)) == len(batch)
        for message in batch
    ]
    found = {
        "lost": len(set(acknowledged) - set(stored)),
        "doubled": len(stored) - len(set(stored)),
        "refused": len(sent) - len(acknowledged),
    }
    for fate, count in found.items():
        report.add("ingest", f"race for one conversation, {fate} of {len(sent):,}", "messages", target.name, count)
        if count and target.is_ours:
            report.failures.append(f"FAILED: race: {target.name} {fate} {count:,} messages.")
