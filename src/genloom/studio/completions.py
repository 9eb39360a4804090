"""Texts in the form of OpenAI's API: `/v1/completions` and `/v1/chat/completions`, whole or as server-sent events."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response

from genloom.core.errors import GenloomError, InputError
from genloom.core.spec import Tokens
from genloom.core.tasks import decoding
from genloom.run.requests import Request
from genloom.studio.chat import said
from genloom.studio.errors import Refused, document
from genloom.studio.jobs import Done, Job
from genloom.studio.schemas import ChatRequest, CompletionRequest, TextRequest
from genloom.studio.service import Service, Stream, unless_gone
from genloom.studio.shelf import Loaded
from genloom.studio.texts import Delta, Reader, Token, legacy_logprobs, usage


@dataclass(frozen=True)
class Form:
    """How answers look. choice: what one is made of (index, text, tokens, reason, characters before, whether it is a
    piece)."""

    prefix: str
    whole: str
    piece: str
    choice: Callable[[int, str, Sequence[Token], str | None, int, bool], dict[str, Any]]


def as_completion(
    index: int, text: str, tokens: Sequence[Token], reason: str | None, before: int, piece: bool
) -> dict[str, Any]:
    logprobs = legacy_logprobs(tokens, before) if tokens else None
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def as_message(
    index: int, text: str, tokens: Sequence[Token], reason: str | None, before: int, piece: bool
) -> dict[str, Any]:
    message: dict[str, Any] = {"content": text} if text or not piece else {}
    if not piece or (before == 0 and reason is None):
        message = {"role": "assistant", **message}
    logprobs = {"content": [t.for_chat() for t in tokens], "refusal": None} if tokens else None
    return {"index": index, "delta" if piece else "message": message, "logprobs": logprobs, "finish_reason": reason}


COMPLETION = Form("cmpl", "text_completion", "text_completion", as_completion)
CHAT = Form("chatcmpl", "chat.completion", "chat.completion.chunk", as_message)


@dataclass
class Asked:
    """A request for texts. tops: most probable tokens told with each; None: no log-probabilities. source: what they
    follow from. task: whose way of drawing is the usual one."""

    body: TextRequest
    form: Form
    prompts: list[str]
    most: int | None
    tops: int | None
    source: str | None = None
    task: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))
    came: float = field(default_factory=time.perf_counter)

    def document(self, piece: bool, model: Loaded, seed: int, choices: list[dict[str, Any]]) -> dict[str, Any]:
        form = self.form
        return {
            "id": f"{form.prefix}-{self.id}", "object": form.piece if piece else form.whole, "created": self.created,
            "model": self.body.model, "system_fingerprint": model.fingerprint, "seed": seed, "choices": choices,
        }  # fmt: skip


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["OpenAI"])

    @routes.post("/v1/completions", response_model=None)
    async def completions(body: CompletionRequest, http: HttpRequest) -> Response:
        """Text after a prompt."""
        prompts = [body.prompt] if isinstance(body.prompt, str) else list(body.prompt)
        return await answered(service, Asked(body, COMPLETION, prompts, body.max_tokens, body.logprobs), http)

    @routes.post("/v1/chat/completions", response_model=None)
    async def chat(body: ChatRequest, http: HttpRequest) -> Response:
        """The next message of a conversation: of runs trained with `--task chat`, and of others where the server has a
        template (`--chat-template`)."""
        task = service.shelf.entry(body.model).task
        if task != "chat" and service.template is None:
            raise Refused(
                400, f"{body.model} was not trained on conversations: use /v1/completions, or serve it with "
                "--chat-template FILE, which says how its data writes a conversation", param="model",
            )  # fmt: skip
        if body.top_logprobs is not None and not body.logprobs:
            raise Refused(400, "top_logprobs: ask for logprobs too", param="top_logprobs")
        if body.max_tokens is not None and body.max_completion_tokens is not None:
            raise Refused(400, "max_tokens: give it or max_completion_tokens, not both", param="max_tokens")
        messages = [m.plain() for m in body.messages]
        tops = (body.top_logprobs or 0) if body.logprobs else None
        most = body.max_completion_tokens or body.max_tokens
        if task == "chat":
            return await answered(service, Asked(body, CHAT, [""], most, tops, said(messages), task), http)
        assert service.template is not None
        return await answered(service, Asked(body, CHAT, [service.template.render(messages)], most, tops), http)

    return routes


async def answered(service: Service, asked: Asked, http: HttpRequest) -> Response:
    body = asked.body
    if body.stream_options is not None and not body.stream:
        raise Refused(400, "stream_options: only with stream", param="stream_options")
    service.limits.check_number(body.n * len(asked.prompts))
    seed = service.seed(body.seed)
    stack = AsyncExitStack()
    try:
        model, jobs = await stack.enter_async_context(service.held(body.model))
        spec = text_of(model)
        options = body.sampler(asked.most)
        options = decoding(asked.task, options) if asked.task else options
        for prompt in asked.prompts:
            request = Request(body.n, None, seed, options, prompt, "", body.stops, None, asked.source)
            told = body.stream or asked.tops is not None
            jobs.append(await service.submit(model, request, told=told, tops=asked.tops or 0))
        if asked.tops is not None and not model.worker.stepwise:
            raise Refused(400, f"logprobs: {body.model} does not draw token by token", param="logprobs")
        texts = [Reader(model.run.modality, spec, j.ready.begin, j.rows, body.stops) for j in jobs]
        if body.stream:
            return Stream(streamed(service, asked, model, jobs, texts, seed), stack.aclose)
        choices = await unless_gone(http, whole(asked, jobs, texts))
    except BaseException:
        await stack.aclose()
        raise
    await stack.aclose()
    count(service, asked, texts)
    answer = asked.document(False, model, seed, choices)
    return JSONResponse({**answer, "usage": usage(given(model, jobs), drawn(texts))})


def text_of(model: Loaded) -> Tokens:
    """The spec of a run of text. Raises Refused for others."""
    spec = model.run.family.spec
    if not model.run.modality.shows_text or not isinstance(spec, Tokens):
        raise Refused(400, f"{model.run.name} is a model of {model.run.config.kind}: use /v1/generate", param="model")
    return spec


async def whole(asked: Asked, jobs: Sequence[Job], texts: Sequence[Reader]) -> list[dict[str, Any]]:
    """The choices of all prompts."""

    async def one(job: Job, text: Reader, begin: int) -> list[dict[str, Any]]:
        if not job.told:
            deltas = text.whole(await job.result())
            return [asked.form.choice(begin + d.row, d.text, (), d.reason, 0, False) for d in deltas]
        kept: list[list[Delta]] = [[] for _ in range(job.rows)]
        async for event in job.listen():
            for delta in text.end(event) if isinstance(event, Done) else text.read(event):
                kept[delta.row].append(delta)
        return [
            asked.form.choice(
                begin + row, "".join(d.text for d in own), [t for d in own for t in d.tokens], own[-1].reason, 0, False
            )
            for row, own in enumerate(kept)
        ]

    each = await asyncio.gather(*(one(j, t, k * j.rows) for k, (j, t) in enumerate(zip(jobs, texts, strict=True))))
    return [choice for choices in each for choice in choices]


async def streamed(
    service: Service, asked: Asked, model: Loaded, jobs: Sequence[Job], texts: Sequence[Reader], seed: int
) -> AsyncIterator[str]:
    """Server-sent events: pieces of all choices as they come, then the usage if it was asked for."""
    wants_usage = asked.body.stream_options is not None and asked.body.stream_options.include_usage
    empty = {"usage": None} if wants_usage else {}
    queue: asyncio.Queue[str | Exception | None] = asyncio.Queue()

    def event(choices: list[dict[str, Any]], more: dict[str, Any]) -> str:
        return sent({**asked.document(True, model, seed, choices), **more})

    async def follow(job: Job, text: Reader, begin: int) -> None:
        told = [0] * job.rows  # characters
        try:
            async for news in job.listen():
                done = isinstance(news, Done)
                if isinstance(news, Done):
                    deltas = text.end(news) if job.told else text.whole(news)
                else:
                    deltas = text.read(news)
                if not any(told) and (deltas or done):
                    service.metrics.first.labels(asked.body.model).observe(time.perf_counter() - asked.came)
                for d in deltas:
                    choice = asked.form.choice
                    if d.text or d.tokens:
                        await queue.put(
                            event([choice(begin + d.row, d.text, d.tokens, None, told[d.row], True)], empty)
                        )
                        told[d.row] += len(d.text)
                    if d.reason is not None:
                        await queue.put(event([choice(begin + d.row, "", (), d.reason, told[d.row], True)], empty))
        except Exception as e:
            await queue.put(e)
        await queue.put(None)

    tasks = [asyncio.create_task(follow(j, t, k * j.rows)) for k, (j, t) in enumerate(zip(jobs, texts, strict=True))]
    try:
        left = len(tasks)
        while left:
            item = await queue.get()
            if isinstance(item, str):
                yield item
            elif item is None:
                left -= 1
            else:  # the answer has begun: the error is an event
                yield sent(failure(item))
                return
        count(service, asked, texts)
        if wants_usage:
            yield event([], {"usage": usage(given(model, jobs), drawn(texts))})
        yield "data: [DONE]\n\n"
    finally:
        for task in tasks:
            task.cancel()


def sent(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def failure(error: Exception) -> dict[str, Any]:
    """An error in the middle of a stream."""
    if isinstance(error, Refused):
        return document(error.status, error.message, param=error.param, code=error.code)
    if isinstance(error, GenloomError):
        return document(400 if isinstance(error, InputError) else 500, str(error))
    return document(500, f"an error in genloom itself ({type(error).__name__}); its log says more")


def given(model: Loaded, jobs: Sequence[Job]) -> int:
    """Tokens of the prompts and sources."""
    total, spec = sum(j.ready.begin - 1 for j in jobs), model.run.condition.source
    sources = [j.ready.condition.source for j in jobs]
    return total + sum(int((s[0] != spec.pad).sum()) for s in sources if s is not None and spec is not None)


def drawn(texts: Sequence[Reader]) -> int:
    return sum(t.drawn for t in texts)


def count(service: Service, asked: Asked, texts: Sequence[Reader]) -> None:
    service.metrics.tokens.labels(asked.body.model).inc(drawn(texts))
    service.metrics.samples.labels(asked.body.model).inc(asked.body.n * len(texts))
