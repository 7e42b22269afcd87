"""Realistic messages: several scripts, 20 to 400 characters, the same in every run."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

# Parts of words. Words of one to three of them make a vocabulary large enough that no text compresses to nothing.
PARTS = {
    "latin": "an ber con de er fin ge ho in ket li mo ne or pla que ra sti ta un ver wa ça ñe ö ü",
    "chinese": "我 你 好 请 问 订 单 什 么 时 候 发 货 明 天 上 午 开 会 可 以 价 格 没 题 谢 客 户 项 目",
    "japanese": "あり がと 注文 です いつ 届き ます 明日 会議 から 資料 送っ 確認 して よろ しく お願い 大丈",
    "arabic": "مر حبا شك را مت يص ال طلب أر يد مع رفة سع ر غد صب اح دفع أم س لا مش كلة",
    "russian": "при вет спа си бо за от вет ког да бу дет дос тав ка зав тра хо ро шо пла та",  # noqa: RUF001
    "hindi": "नम स्ते धन्य वाद कृप या मुझे बिल भेज कल मीटिं ग ठीक है भुग तान जल्दी बता",
}
FREQUENCY = {"latin": 55, "chinese": 20, "japanese": 8, "arabic": 5, "russian": 7, "hindi": 5}
WITHOUT_SPACES = {"chinese", "japanese"}
EMOJI = ("😀", "👍", "🎉", "🙏", "❤️", "👨‍👩‍👧", "🇨🇳", "🤝🏽")
KINDS = ("text",) * 46 + ("image", "audio", "video", "file")
BEGINNING = datetime(2026, 2, 1, tzinfo=UTC)


def _vocabulary(script: str) -> list[str]:
    random, parts = Random(script), PARTS[script].split()
    words = ["".join(random.choices(parts, k=random.randint(1, 3))) for _ in range(1000)]
    return words if script in WITHOUT_SPACES else [f"{word} " for word in words]


VOCABULARIES = {script: _vocabulary(script) for script in PARTS}


def text(random: Random) -> str:
    """A text of 20 to 400 characters, more often a short one."""
    (script,) = random.choices(list(FREQUENCY), FREQUENCY.values())
    length = 20 + int(370 * random.random() * random.random())
    words = "".join(random.choices(VOCABULARIES[script], k=length))[:length]
    return words + random.choice(EMOJI) if random.random() < 0.15 else words


def message(thread: int, index: int) -> dict[str, Any]:
    """One message of a thread. Its id begins at random, as WhatsApp's do: new ones fall anywhere among the old."""
    random = Random(f"{thread} {index}")
    kind = random.choice(KINDS)
    return {
        "id": f"wamid.{random.getrandbits(64):016X}{thread:06X}{index:06X}",
        "direction": random.choice(("inbound", "outbound")),
        "type": kind,
        "content": text(random),
        "media_url": None if kind == "text" else f"https://media.example.com/{kind}/{random.getrandbits(64):016x}",
        "sent_at": (BEGINNING + timedelta(seconds=37 * index)).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }


def messages(thread: int, start: int, count: int) -> list[dict[str, Any]]:
    """So many messages of a thread, from the one with this index on."""
    return [message(thread, index) for index in range(start, start + count)]
