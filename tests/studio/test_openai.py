"""The official client of OpenAI's API against a real server, and what it cannot say."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import openai
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

import genloom
from genloom.provenance import mark


@pytest.fixture(scope="module")
def ai(live: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{live}/v1", api_key="none", max_retries=0)


def test_models(ai: openai.OpenAI) -> None:
    assert [m.id for m in ai.models.list()] == ["prose", "names", "digits"]
    assert ai.models.retrieve("prose").owned_by == "genloom"
    with pytest.raises(openai.NotFoundError, match="did you mean 'prose'"):
        ai.models.retrieve("pros")


def test_a_completion_is_the_sample_of_its_seed(ai: openai.OpenAI, runs: Path) -> None:
    run = genloom.load(runs / "prose")
    done = ai.completions.create(model="prose", prompt="It was", max_tokens=20, seed=7, n=3, temperature=0.8)
    expected = run.sample(3, prompt="It was", seed=7, options={"max_tokens": 20, "temperature": 0.8})
    assert [f"It was{c.text}" for c in done.choices] == expected
    assert [c.index for c in done.choices] == [0, 1, 2]
    assert {c.finish_reason for c in done.choices} == {"length"}
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (6, 60)


def test_a_stream_has_the_text_of_the_whole_answer(ai: openai.OpenAI) -> None:
    asked = {"model": "names", "prompt": "Be", "seed": 3, "n": 2}
    whole = ai.completions.create(**asked)  # type: ignore[call-overload]
    stream = list(ai.completions.create(**asked, stream=True, stream_options={"include_usage": True}))  # type: ignore[call-overload]
    for i in range(2):
        pieces = [c for chunk in stream for c in chunk.choices if c.index == i]
        assert "".join(c.text for c in pieces) == whole.choices[i].text
        assert [c.finish_reason for c in pieces][-1] == whole.choices[i].finish_reason
        assert not any(c.finish_reason for c in pieces[:-1])
    assert stream[-1].choices == [] and stream[-1].usage == whole.usage
    assert not any(chunk.usage for chunk in stream[:-1])


def test_text_ends_before_a_stop(ai: openai.OpenAI) -> None:
    free = ai.completions.create(model="prose", prompt="It was", max_tokens=60, seed=1).choices[0].text
    stop = free[10:13]
    for stream in (False, True):
        asked = {"model": "prose", "prompt": "It was", "max_tokens": 60, "seed": 1, "stop": [stop], "stream": stream}
        answer = ai.completions.create(**asked)  # type: ignore[call-overload]
        choices = [c for chunk in answer for c in chunk.choices] if stream else answer.choices
        assert "".join(c.text for c in choices) == free[: free.index(stop)]
        assert choices[-1].finish_reason == "stop"


def test_logprobs_are_those_of_the_model(ai: openai.OpenAI, runs: Path) -> None:
    done = ai.completions.create(model="prose", prompt="It", max_tokens=8, seed=2, logprobs=3, temperature=0)
    logprobs = done.choices[0].logprobs
    assert logprobs is not None and logprobs.tokens and logprobs.token_logprobs and logprobs.top_logprobs
    assert "".join(logprobs.tokens) == done.choices[0].text
    assert logprobs.text_offset == list(range(8))
    run = genloom.load(runs / "prose")
    first = run.modality.decode(torch.tensor([run.modality.spec.bos]))  # a stream begins with an ordinary token
    nats = run.surprise(first + "It" + done.choices[0].text)
    assert logprobs.token_logprobs == pytest.approx([-float(v) for v in nats[2:]], abs=1e-4)
    for token, own, top in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True):
        assert len(top) == 3 and max(top, key=lambda t: top[t]) == token and top[token] == own


def test_several_prompts(ai: openai.OpenAI) -> None:
    both = ai.completions.create(model="prose", prompt=["It was", "Chapter"], max_tokens=9, seed=4, n=2)
    alone = ai.completions.create(model="prose", prompt="Chapter", max_tokens=9, seed=4, n=2)
    assert [c.text for c in both.choices][2:] == [c.text for c in alone.choices]


def test_chat(ai: openai.OpenAI) -> None:
    asked = {
        "model": "prose", "messages": [{"role": "user", "content": "It was"}, {"role": "user", "content": "the"}],
        "max_tokens": 12, "seed": 5,
    }  # fmt: skip
    whole = ai.chat.completions.create(**asked, logprobs=True, top_logprobs=2)  # type: ignore[call-overload]
    text = ai.completions.create(model="prose", prompt="It was\nthe\n", max_tokens=12, seed=5).choices[0].text
    assert (whole.choices[0].message.role, whole.choices[0].message.content) == ("assistant", text)
    content = whole.choices[0].logprobs.content
    assert "".join(t.token for t in content) == text and all(len(t.top_logprobs) == 2 for t in content)
    chunks = list(ai.chat.completions.create(**asked, stream=True))  # type: ignore[call-overload]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == text
    assert chunks[-1].choices[0].finish_reason == "length"


def test_images_are_marked_pictures_of_their_seed(ai: openai.OpenAI, runs: Path) -> None:
    done = ai.images.generate(model="digits", prompt="7", n=2, response_format="b64_json", extra_body={"seed": 3})
    assert done.data is not None
    files = [base64.b64decode(d.b64_json or "") for d in done.data]
    expected = genloom.load(runs / "digits").sample(2, label="7", seed=3)
    for data, picture in zip(files, expected, strict=True):
        with Image.open(io.BytesIO(data)) as shown:
            assert shown.size == (8, 8) and shown.convert("L").tobytes() == picture.convert("L").tobytes()
        facts = mark.find(data, ".png")
        assert facts is not None and (facts["run"], facts["label"], facts["seed"]) == ("digits", "7", 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frequency_penalty", 0.5), ("presence_penalty", 1), ("logit_bias", {"5": 1}), ("best_of", 2), ("echo", True),
        ("suffix", "x"), ("user", "me"), ("temperature", 3), ("n", 0), ("n", 65), ("max_tokens", 5000), ("logprobs", 6),
        ("top_p", 0), ("seed", -1), ("prompt", [1, 2]), ("prompt", "日"), ("options", {"nonsense": 1}), ("model", 5),
        ("options", {"beams": 9}), ("stop", ["a"] * 5), ("stop", ""), ("stream_options", {"include_usage": True}),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_an_error(client: TestClient, field: str, value: object) -> None:
    answer = client.post("/v1/completions", json={"model": "prose", "prompt": "It", "max_tokens": 2, field: value})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_neutral_values_are_taken(client: TestClient) -> None:
    neutral = {
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "logit_bias": {},
        "best_of": 1,
        "echo": False,
        "stop": None,
    }
    answer = client.post("/v1/completions", json={"model": "prose", "prompt": "It", "max_tokens": 2, **neutral})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/v1/completions", {"model": "digits", "prompt": ""}, "a model of image: use /v1/generate"),
        ("/v1/images/generations", {"model": "prose", "prompt": ""}, "a model of text"),
        ("/v1/images/generations", {"model": "digits", "prompt": "seven"}, "there is no class 'seven'"),
        ("/v1/images/generations", {"model": "digits", "size": "256x256"}, "pictures of 8x8"),
        ("/v1/images/generations", {"model": "digits", "options": {"steps": 300}}, "steps: at most 250"),
        ("/v1/images/generations", {"model": "digits", "response_format": "url"}, "b64_json"),
        ("/v1/chat/completions", {"model": "prose", "messages": []}, "messages"),
    ],
)
def test_errors_say_what_to_do(client: TestClient, path: str, body: dict[str, object], words: str) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_speech_is_not_there_yet(client: TestClient) -> None:
    answer = client.post("/v1/audio/speech", json={"model": "prose", "input": "x", "voice": "y"})
    assert answer.status_code == 404 and "speech" in answer.json()["error"]["message"]
