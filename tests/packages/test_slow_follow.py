"""Following through what takes seconds. Both languages follow at once, because each test mostly waits."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg

from tests.packages.bob import SECONDS, Bob, log
from tests.support.calls import send
from tests.support.line import Line
from tests.support.stack import RunningStack
from tests.support.world import MATTY


def in_both_languages(scenario: Callable[[Bob], None], folder: Path) -> None:
    """Run a scenario with a Bob for each language."""
    with ThreadPoolExecutor() as pool:
        bobs = [Bob(folder / language, language) for language in ("python", "javascript")]
        list(pool.map(scenario, bobs))


def test_follower_rejoins_seconds_after_a_fresh_token(
    stack: RunningStack, calls: psycopg.Connection[Any], add_followed: Callable[[], str], tmp_path: Path
) -> None:
    def follow(bob: Bob) -> None:
        channel_id, line = add_followed(), Line(stack.port)
        bob.renew(12)  # enough for a slow start of the agent
        with bob.following(line, channelId=channel_id, checkSeconds=600) as agent:
            agent.wait_for_state("live")
            agent.wait_for_state("offline")
            send(calls, "while no token was valid", MATTY, channel_id)
            time.sleep(3)
            bob.renew()
            assert agent.wait_for_seq(4) < SECONDS
            agent.wait(lambda _: agent.states()[-1] == "live", SECONDS)
            send(calls, "live again", MATTY, channel_id)
            assert agent.wait_for_seq(5) < 2
            assert agent.events() == log(calls, channel_id)
        line.close()

    in_both_languages(follow, tmp_path)


def test_sleep_with_a_dead_connection_costs_seconds(
    stack: RunningStack, calls: psycopg.Connection[Any], add_followed: Callable[[], str], tmp_path: Path
) -> None:
    def follow(bob: Bob) -> None:
        channel_id, line = add_followed(), Line(stack.port)
        with bob.following(line, channelId=channel_id, checkSeconds=600) as agent:
            agent.wait_for_state("live")
            agent.process.send_signal(signal.SIGSTOP)
            line.kill()
            send(calls, "while it slept", MATTY, channel_id)
            time.sleep(16)
            agent.process.send_signal(signal.SIGCONT)
            assert agent.wait_for_seq(4) < SECONDS
            time.sleep(SECONDS)
            send(calls, "when it was awake", MATTY, channel_id)
            assert agent.wait_for_seq(5) < SECONDS
        line.close()

    in_both_languages(follow, tmp_path)
