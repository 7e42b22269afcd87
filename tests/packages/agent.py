"""Follows a topic with a token from a file, and prints what happens as lines of JSON.

agent.py URL KEY TOKEN_FILE OPTIONS
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from threadline_follow import State, follow

NAMES = {"channelId": "channel_id", "checkSeconds": "check_seconds"}


async def run(copy: int, slow: int = 0, failing: int = 0, **options: Any) -> None:
    def say(**content: Any) -> None:
        print(json.dumps({"copy": copy, **content}), flush=True)

    def notice(state: State, error: Exception | None) -> None:
        if state != "ended":
            say(kind="state", state=state, error=error and str(error))

    url, key, token_file, _ = sys.argv[1:]
    names = {NAMES.get(name, name): value for name, value in options.items()}
    following = follow(url, key, Path(token_file).read_text, on_state=notice, **names)
    try:
        async with following as events:
            async for event in events:
                await asyncio.sleep(slow / 1000)
                if failing and event.seq == failing:
                    raise ValueError("The handler failed.")
                say(kind="event", event=event.name, payload=event.payload)
        say(kind="state", state="ended", reason=following.reason)
    except ValueError as error:
        say(kind="state", state="ended", reason="failed", error=str(error))


async def main() -> None:
    options = json.loads(sys.argv[4])
    copies = options.pop("copies", 1)
    await asyncio.gather(*(run(copy, **options) for copy in range(1, copies + 1)))


asyncio.run(main())
