"""Print what happens in a channel, each event as a line of JSON. With a user's access token in ACCESS_TOKEN.

follow.py URL KEY CHANNEL [SINCE]
"""

import asyncio
import json
import os
import sys

from threadline_follow import State, follow


def notice(state: State, error: Exception | None) -> None:
    print(state, error or "", file=sys.stderr)


async def main() -> None:
    url, key, channel_id, since = [*sys.argv[1:], "0"][:4]
    token = os.environ["ACCESS_TOKEN"]
    async with follow(url, key, token, channel_id=channel_id, since=int(since), on_state=notice) as events:
        async for event in events:
            print(json.dumps({"event": event.name, "payload": event.payload}), flush=True)


asyncio.run(main())
