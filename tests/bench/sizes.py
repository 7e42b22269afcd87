"""How much of everything is measured."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The size of a run.

    Attributes:
        rounds: how often everything is measured, each target in turn.
        quiet: seconds to wait at most, before a measurement, for an idle processor.
        requests, conversations, messages: of one load, as requests x conversations x messages.
        connections: how many requests of a load are under way at once, one load for each.
        race: requests that meet on one conversation.
        lengths: of the threads that grow.
        longest_array: beyond it, nothing is appended to what keeps a thread in one array.
        appends: how many messages are added at once, and how often in a round.
        long_read, short_read: the length of the thread whose end is read, and of the one that is read whole.
        reads: how often in a round.
        writes: messages that are created in a round by each target.
        peer_writes: the same, where the others are whole systems for messages.
        long_channel, depth: messages of the channel that is read, and how far from its end a page lies.
        subscribers: of one message; broadcasts: how many they get one after the other in a round.
        burst: messages to one subscriber at once.
        crowds: messages of channels in each database, from small to large.
    """

    rounds: int
    quiet: float
    requests: int
    conversations: int
    messages: int
    connections: tuple[int, ...]
    race: int
    lengths: tuple[int, ...]
    longest_array: int
    appends: Mapping[int, int]
    long_read: int
    short_read: int
    reads: int
    writes: int
    peer_writes: int
    long_channel: int
    depth: int
    subscribers: tuple[int, ...]
    broadcasts: int
    burst: int
    crowds: tuple[int, ...]


FULL = Sizes(
    rounds=7,
    quiet=6,
    requests=200,
    conversations=10,
    messages=20,
    connections=(1, 8),
    race=80,
    lengths=(10, 1_000, 10_000, 50_000, 100_000),
    longest_array=50_000,
    appends={1: 10, 500: 3},
    long_read=100_000,
    short_read=1_000,
    reads=30,
    writes=2_000,
    peer_writes=400,
    long_channel=1_000_000,
    depth=100_000,
    subscribers=(100, 1_000),
    broadcasts=30,
    burst=20_000,
    crowds=(10_000, 10_000_000),
)
QUICK = Sizes(
    rounds=1,
    quiet=0,
    requests=4,
    conversations=2,
    messages=5,
    connections=(1, 2),
    race=8,
    lengths=(10, 200),
    longest_array=200,
    appends={1: 2, 50: 1},
    long_read=200,
    short_read=100,
    reads=2,
    writes=20,
    peer_writes=20,
    long_channel=300,
    depth=200,
    subscribers=(1, 10),
    broadcasts=2,
    burst=100,
    crowds=(200,),
)
