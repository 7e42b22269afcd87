"""Follow a topic of Threadline: each event once and in order, whatever happens to the connection."""

from threadline_follow.following import Event, Following, State, follow
from threadline_follow.log import LogError
from threadline_follow.topic import Token

__all__ = ["Event", "Following", "LogError", "State", "Token", "follow"]
