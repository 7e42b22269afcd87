"""What the model reads and writes, without the model: threads, parts, citations, prices and failures."""

import asyncio
import json
import logging
from types import SimpleNamespace

import pytest
from threadline import metrics, summarizer
from threadline.settings import Settings
from threadline.summarizer import Summarizer, Summary, SummaryFailedError
from threadline.transcripts import (
    Block,
    Statement,
    break_markup,
    divide,
    list_threads,
    merge_answers,
    read_statements,
    render_document,
    strip_ends,
)

NO_DATABASE = "postgresql://x@127.0.0.1/x"


def said(name: str, parent: str | None = None) -> dict[str, object]:
    return {"id": name, "parent_id": parent, "at": "t", "author": "Ada", "content": f"<{name}>"}


def test_replies_stand_with_the_root_of_their_thread() -> None:
    threads = list_threads(
        [said("a"), said("b"), said("c", "a"), said("d", "c"), said("e", "old"), said("f", "e"), said("g", "old")]
    )
    assert [[block.ids for block in thread] for thread in threads] == [
        [["a"], ["c"], ["d"]], [["b"]], [["e"], ["f"], ["g"]],
    ]  # fmt: skip
    lines = [json.loads(block.text) for thread in threads for block in thread]
    assert [line.get("in_reply_to") for line in lines] == [
        None,
        1,
        3,
        None,
        "an earlier message",
        5,
        "an earlier message",
    ]
    assert lines[0] == {"n": 1, "at": "t", "from": "Ada", "text": "<a>"}
    assert "<" not in threads[0][0].text
    assert "\u00e9" in list_threads([said("\u00e9")])[0][0].text
    assert render_document(threads[1]) == {
        "type": "document",
        "source": {"type": "content", "content": [{"type": "text", "text": threads[1][0].text}]},
        "citations": {"enabled": True},
    }


def parts(limit: int, *threads: list[str]) -> list[list[str]]:
    blocks = [[Block(text, [text]) for text in thread] for thread in threads]
    return [[block.text for block in part] for part in divide(blocks, limit)]


def test_only_a_thread_longer_than_a_part_is_divided() -> None:
    assert parts(10, ["aaaa"], ["bbbb"], ["c"]) == [["aaaa", "bbbb"], ["c"]]
    assert parts(9, ["aaaa"], ["bbbb"]) == [["aaaa"], ["bbbb"]]
    assert parts(10, ["aaaa", "bbbb"]) == [["aaaa", "bbbb"]]
    assert parts(10, ["x"], ["aaaa", "bbbb"]) == [["x"], ["aaaa", "bbbb"]]
    assert parts(10, ["x"], ["aaaa", "bbbb", "c"], ["d"]) == [["x", "aaaa"], ["bbbb", "c", "d"]]
    assert parts(10, ["\u00e9\u00e9\u00e9\u00e9"], ["bb"]) == [["\u00e9\u00e9\u00e9\u00e9"], ["bb"]]
    assert parts(5, ["x"], ["aaaa\u00e9\u20acb"]) == [["x"], ["aaaa"], ["\u00e9"], ["\u20acb"]]
    assert [[block.ids for block in part] for part in divide([[Block("aaaa", ["a"])]], 3)] == [[["a"]], [["a"]]]


def piece(text: str, *places: tuple[int, int], kind: str = "content_block_location") -> SimpleNamespace:
    citations = [SimpleNamespace(type=kind, start_block_index=start, end_block_index=end) for start, end in places]
    return SimpleNamespace(type="text", text=text, citations=citations or None)


def answer(*pieces: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(content=list(pieces))


BLOCKS = [Block("0", ["a", "b"]), Block("1", ["b", "c"]), Block("2", ["d"])]


def test_statement_cites_each_message_of_its_blocks_once() -> None:
    thoughts = [SimpleNamespace(type=kind, text="hm") for kind in ("thinking", "redacted_thinking")]
    found = read_statements(
        answer(piece("x", (0, 2)), *thoughts, piece("y", (2, 3), (0, 1)), piece("z", (0, 1), kind="char")), BLOCKS
    )
    assert found == [Statement("x", ["a", "b", "c"]), Statement("y", ["d", "a", "b"]), Statement("z", [])]
    merged = list(
        merge_answers([answer(piece(" x ", (0, 1))), answer(piece(" "), piece("y", (0, 1)))], [BLOCKS, BLOCKS[2:]])
    )
    assert [(json.loads(block.text), block.ids) for block in merged] == [
        ({"part": 1, "summary": "x"}, ["a", "b"]), ({"part": 2, "summary": "y"}, ["d"]),
    ]  # fmt: skip
    summary = Summary(found, "m", is_cut=False)
    assert (summary.text, summary.citations) == ("xyz", ["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("texts", "right"),
    [
        (["a <b>", "<B>", "1 < 2"], ["a \u2039b>", "\u2039B>", "1 < 2"]),
        (["<!--", "<?x", "</p>"], ["\u2039!--", "\u2039?x", "\u2039/p>"]),
        (["!![x]", "! [x]", "wow!"], ["[x]", "! [x]", "wow!"]),
        (["[x](y)", "[x]:y", "[x] (y)"], ["[x] (y)", "[x] :y", "[x] (y)"]),
        (["a <", "b"], ["a <", " b"]),
        (["[x]", "", "(y)"], ["[x]", "", " (y)"]),
        (["[x]", "y", "(z)"], ["[x]", "y", "(z)"]),
    ],
)
def test_markup_is_broken_and_other_text_stays(texts: list[str], right: list[str]) -> None:
    assert [each.text for each in break_markup([Statement(text, []) for text in texts])] == right


def test_white_space_is_removed_at_both_ends_only() -> None:
    given = [Statement(text, [text]) for text in (" ", "\n", " a ", "\n", " b ", "\t", " ")]
    assert strip_ends(given) == [Statement("a ", [" a "]), Statement("\n", ["\n"]), Statement(" b", [" b "])]
    assert strip_ends([Statement(" a ", [])]) == [Statement("a", [])]
    assert strip_ends([Statement(" ", [])]) == []


@pytest.mark.parametrize(
    ("window", "step", "size"),
    [(100_000, 100_000, 189_808), (50_000, 100_000, 89_808), (200_000, 60_000, 109_808), (5000, 100_000, 9808)],
)
def test_part_leaves_room_for_prompt_and_answer(window: int, step: int, size: int) -> None:
    made = Summarizer(Settings(NO_DATABASE, summary_window=window, summary_price_step=step))
    assert made._part_bytes == size


def count(settings: Settings, read: int, written: int, stop: str | None = "end_turn") -> float:
    usage = SimpleNamespace(input_tokens=read, output_tokens=written)
    before = metrics.COST.labels(settings.summary_model)._value.get()
    Summarizer(settings)._count(SimpleNamespace(usage=usage, stop_reason=stop) if read else None)
    return (metrics.COST.labels(settings.summary_model)._value.get() - before) * 1_000_000


def test_one_long_price_replaces_both_above_the_step() -> None:
    prices = {"summary_input_price": 1.0, "summary_output_price": 5.0, "summary_price_step": 10}
    plain = Settings(NO_DATABASE, summary_model="counted", **prices)
    assert count(plain, 10, 1) == pytest.approx(15)
    assert count(plain, 11, 1) == pytest.approx(16)
    both = Settings(NO_DATABASE, summary_long_output_price=7.0, **prices)
    assert [count(both, read, 1) for read in (10, 11)] == [pytest.approx(15), pytest.approx(7)]
    assert count(plain, 0, 0) == 0
    count(plain, 1, 1, None)
    outcomes = {
        outcome: metrics.SUMMARIES.labels("counted", outcome)._value.get() for outcome in ("end_turn", "failed")
    }
    assert outcomes == {"end_turn": 2, "failed": 2}
    assert metrics.TOKENS.labels("counted", "read")._value.get() == 22
    assert metrics.TOKENS.labels("counted", "written")._value.get() == 3


def failures() -> list[tuple[Exception, str]]:
    # Importing these takes more than a second.
    import anthropic
    import httpx2

    asked = httpx2.Request("POST", "http://x")

    def refusal(status: int, kind: str | None = None) -> Exception:
        body = {"error": {"type": kind}} if kind else None
        answered = httpx2.Response(status, request=asked, headers={"request-id": "r7"})
        return anthropic.APIStatusError("x", response=answered, body=body)

    return [
        (anthropic.APITimeoutError(asked), "summary_timeout"),
        (httpx2.ReadTimeout("x"), "summary_timeout"),
        (refusal(504), "summary_timeout"),
        (refusal(200, "timeout_error"), "summary_timeout"),
        (anthropic.APIConnectionError(request=asked), "summary_unavailable"),
        (httpx2.ReadError("x"), "summary_unavailable"),
        *[(refusal(status), "summary_unavailable") for status in (408, 409, 429, 500, 599)],
        *[
            (refusal(200, kind), "summary_unavailable")
            for kind in ("overloaded_error", "rate_limit_error", "api_error")
        ],
        *[(refusal(status), "summary_failed") for status in (400, 401, 403, 404, 413, 499)],
        (refusal(200, "invalid_request_error"), "summary_failed"),
        (httpx2.InvalidURL("x") if issubclass(httpx2.InvalidURL, ValueError) else ValueError("x"), "summary_failed"),
    ]


def test_each_failure_of_the_model_has_its_code(caplog: pytest.LogCaptureFixture) -> None:
    statuses = {"summary_timeout": 504, "summary_unavailable": 503, "summary_failed": 502}
    for error, code in failures():
        failure = summarizer._failure(error)
        found = (failure.code, failure.status, str(failure))
        assert found == (code, statuses[code], failure.message), repr(error)
    assert "The model failed: APIStatusError rate_limit_error r7" in caplog.messages


class Stream:
    """Answers of the model that end as told, the first one otherwise if that is given; or none in time."""

    def __init__(self, stop: str | None, text: str, asked: list[dict], first: str | None = None) -> None:
        self._stop, self._text, self._asked, self._first = stop, text, asked, first

    def stream(self, **request: object) -> "Stream":
        self._asked.append(request)
        is_merge = request["messages"][0]["content"][1]["text"] == summarizer.MERGE_TASK
        stop = self._first if self._first and len(self._asked) == 1 else self._stop
        # The last answer rests on the second part.
        answering = type(self)(stop, self._text, self._asked)
        answering.place = (1, 2) if is_merge else (0, 1)
        return answering

    async def __aenter__(self) -> "Stream":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def __aiter__(self):
        usage = SimpleNamespace(input_tokens=1, output_tokens=1)
        content = [piece(self._text, self.place)]
        self.current_message_snapshot = SimpleNamespace(usage=usage, stop_reason=self._stop, content=content, model="m")
        yield "an event"
        if self._stop == "never":
            await asyncio.sleep(1)


def summarize(
    *messages: dict, stop: str | None = "end_turn", text: str = "Fine.", first: str | None = None, **more: object
) -> tuple[Summary, list[dict]]:
    made, asked = Summarizer(Settings(NO_DATABASE, summary_window=10_000, **more)), []
    made._client = SimpleNamespace(messages=Stream(stop, text, asked, first))
    return asyncio.run(made.summarize(messages)), asked


LONG = [{**said(name), "content": "x" * 9000} for name in "abc"]


def test_model_is_asked_as_documented() -> None:
    summary, [request] = summarize(said("a"))
    assert (summary.text, summary.citations, summary.model, summary.is_cut) == ("Fine.", ["a"], "m", False)
    assert summarize(said("a"), text=" <b>Fine. ")[0].text == "\u2039b>Fine."
    document, task = request["messages"][0]["content"]
    assert (request["max_tokens"], request["model"], request["system"]) == (4096, "claude-haiku-5-5", summarizer.PROMPT)
    assert (document["type"], task) == ("document", {"type": "text", "text": "Summarise these messages."})
    assert request["messages"][0]["role"] == "user"
    assert (request["thinking"], request.get("output_config")) == ({"type": "disabled"}, None)
    _, [other] = summarize(said("a"), summary_model="claude-sonnet-5-5")
    assert (other.get("thinking"), other["output_config"]) == (None, {"effort": "low"})
    summary, requests = summarize(*LONG, stop="max_tokens")
    tasks = [each["messages"][0]["content"][1]["text"] for each in requests]
    assert tasks == [
        *[f"These messages are part {number} of 3 of a longer conversation. Summarise them." for number in (1, 2, 3)],
        summarizer.MERGE_TASK,
    ]
    assert (summary.is_cut, summary.citations) == (True, ["b"])
    assert summarize(*LONG, first="max_tokens")[0].is_cut
    assert summarize(*LONG, stop="max_tokens", first="end_turn")[0].is_cut
    assert not summarize(*LONG)[0].is_cut


@pytest.mark.parametrize(
    ("stop", "text", "code"),
    [("refusal", "x", "summary_refused"), (None, "x", "summary_unavailable"), ("end_turn", " ", "summary_failed")],
)
def test_answer_without_a_summary_is_paid(
    caplog: pytest.LogCaptureFixture, stop: str | None, text: str, code: str
) -> None:
    with pytest.raises(SummaryFailedError) as failed:
        summarize(said("a"), stop=stop, text=text)
    assert (failed.value.code, failed.value.is_paid) == (code, True)
    assert caplog.messages == ([] if stop else ["The model's answer broke off; the caller gets a 503"])
    with pytest.raises(SummaryFailedError) as failed:
        summarize(*LONG, stop=stop, text=text)
    assert (failed.value.code, failed.value.is_paid) == (code, True)


def test_model_that_never_ends_takes_too_long() -> None:
    with pytest.raises(SummaryFailedError) as failed:
        summarize(said("a"), stop="never", summary_timeout=0.05)
    assert (failed.value.status, failed.value.code, failed.value.is_paid) == (504, "summary_timeout", True)


def test_call_without_an_answer_is_not_paid(caplog: pytest.LogCaptureFixture) -> None:
    import anthropic
    import httpx2

    class Away(Stream):
        async def __aenter__(self) -> "Stream":
            raise error

    made = Summarizer(Settings(NO_DATABASE))
    made._client = SimpleNamespace(messages=Away(None, "", []))
    for error, code in (
        (httpx2.ConnectError("canary"), "summary_unavailable"),
        (ValueError("canary"), "summary_failed"),
        (anthropic.AnthropicError("canary"), "summary_failed"),
    ):
        with pytest.raises(SummaryFailedError) as failed:
            asyncio.run(made.summarize([said("a")]))
        assert (failed.value.code, failed.value.is_paid) == (code, False)
        assert caplog.messages[-1].startswith(f"The model failed: {type(error).__name__} ")
    assert "canary" not in caplog.text


def test_summarizer_without_a_key_is_not_configured() -> None:
    made = Summarizer(Settings(NO_DATABASE))
    assert not made.is_configured
    asyncio.run(made.aclose())
    given = Summarizer(Settings(NO_DATABASE, anthropic_api_key="k", anthropic_base_url="http://x", summary_timeout=7))
    assert given.is_configured
    for name in ("anthropic", "httpx2", "httpcore2"):
        assert logging.getLogger(name).level == logging.WARNING
    assert (given._client.api_key, str(given._client.base_url).rstrip("/")) == ("k", "http://x")
    assert (given._client.timeout.read, given._client.timeout.connect, given.timeout) == (7, 5, 7)
    assert not given._client._open_telemetry["traces"]["enabled"]
    asyncio.run(given.aclose())
    assert given._client.is_closed()
    patient = Summarizer(Settings(NO_DATABASE, anthropic_api_key="k"))
    assert (patient._client.timeout.read, patient.timeout) == (30, 90)
    asyncio.run(patient.aclose())
