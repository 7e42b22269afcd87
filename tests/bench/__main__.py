"""`python -m tests.bench`: measure, print a table, and fail if a race lost, duplicated or rejected a message."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from tests.bench import fanout, growth, ingest, long_channel, machine, messages, peers, reading, scale, setting
from tests.bench.report import Report
from tests.bench.sizes import FULL, QUICK

ENTRIES = {
    "ingest": ingest.measure,
    "growth": growth.measure,
    "reading": reading.measure,
    "messages": messages.measure,
    "channel": long_channel.measure,
    "peers": peers.measure,
    "fanout": fanout.measure,
    "scale": scale.measure,
}
# It fills 30 GB for half an hour, so only its name starts it.
DEFAULT = [entry for entry in ENTRIES if entry != "scale"]
FOLDER = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)


@click.command()
@click.argument("entries", nargs=-1, type=click.Choice(list(ENTRIES)))
@click.option("--quick", is_flag=True, help="Tiny sizes, to see that everything runs.")
@click.option("--rounds", type=click.IntRange(min=1), help="How often everything is measured.")
@click.option(
    "--reference",
    type=FOLDER,
    envvar="THREADLINE_BENCH_REFERENCE",
    show_envvar=True,
    help="A folder with naive/ingest.ts, naive/schema.sql, synapse_bench.py and xmpp_bench.py, for the same run.",
)
@click.option(
    "--synapse",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="THREADLINE_BENCH_SYNAPSE",
    show_envvar=True,
    help="A Python that has matrix-synapse[postgres], aiohttp and psycopg, for the scripts of the reference.",
)
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Where to put all samples.")
def main(
    entries: tuple[str, ...],
    quick: bool,
    rounds: int | None,
    reference: Path | None,
    synapse: Path | None,
    file: Path | None,
) -> None:
    """Measure ENTRIES (by default all but scale) and print medians with the ratios of each round."""
    sizes = QUICK if quick else FULL
    if rounds:
        sizes = replace(sizes, rounds=rounds)
    report = Report()
    with setting.running(reference, synapse) as world:
        for sentence in (machine.describe(world.admin), *world.omissions):
            report.remark(sentence)
        for entry in entries or DEFAULT:
            click.echo(f"{entry} ...", err=True)
            ENTRIES[entry](world, sizes, report)
    report.remark(f"{sum(report.waits)} of {len(report.waits)} measurements began on a quiet machine.")
    click.echo(report.table())
    if file:
        file.write_text(report.json(), encoding="utf-8")
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
