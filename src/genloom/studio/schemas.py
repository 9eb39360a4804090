"""What requests may say. A field that is not here is an error, and so is a value that this server cannot honour."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Stop = Annotated[str, Field(min_length=1, max_length=200)]
Texts = Annotated[list[str], Field(min_length=1, max_length=64)]
Options = Annotated[dict[str, Any], Field(description="Settings of the model's sampler: `genloom describe MODEL`.")]


def _no_bias(value: dict[str, float] | None) -> dict[str, float] | None:
    if value:
        raise ValueError("biases of tokens are not honoured; leave it out")
    return value


NoBias = Annotated[dict[str, float] | None, AfterValidator(_no_bias)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StreamOptions(Body):
    include_usage: bool = False


class TextRequest(Body):
    """What completions and conversations have in common. Fields with one value are those of OpenAI's API that this
    server does not honour."""

    model: str
    n: int = Field(1, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: Seed | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: NoBias = None
    options: Options = Field(default_factory=dict)

    @property
    def stops(self) -> tuple[str, ...]:
        return () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def sampler(self, most: int | None) -> dict[str, Any]:
        """The sampler's options. most: tokens."""
        named = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": most}
        return {**self.options, **{k: v for k, v in named.items() if v is not None}}


class CompletionRequest(TextRequest):
    prompt: str | Annotated[list[str], Field(min_length=1, max_length=16)] = ""
    max_tokens: int | None = Field(None, ge=1, description="By the data if not given.")
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None


class TextPart(Body):
    type: Literal["text"]
    text: str


class Message(Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def plain(self) -> dict[str, str]:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": text}


class ChatRequest(TextRequest):
    messages: list[Message] = Field(min_length=1, max_length=1000)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)


class ImageRequest(Body):
    model: str
    prompt: str = Field("", description="The name of a class of the data, or nothing.")
    n: int = Field(1, ge=1)
    size: str | None = Field(None, description="WIDTHxHEIGHT: that of the model.")
    response_format: Literal["b64_json"] | None = None
    seed: Seed | None = None
    options: Options = Field(default_factory=dict)


class File(Body):
    """A file's contents in base64."""

    data: str

    def contents(self) -> bytes:
        """Raises ValueError."""
        try:
            return base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("the data is not base64") from None


class GenerateRequest(Body):
    """Samples of any model, with any of the conditions that it honours."""

    model: str
    n: int = Field(1, ge=1)
    seed: Seed | None = None
    label: str | Texts | None = Field(None, description="A class, or several that take turns.")
    properties: dict[str, Number | Annotated[list[Number], Field(min_length=1, max_length=64)]] = Field(
        default_factory=dict, description="Numbers that samples shall have, or several that take turns."
    )
    source: str | File | Texts | None = Field(None, description="What samples follow from, or several in turn.")
    prompt: str | File = Field("", description="What samples begin with: text, or a file where examples are files.")
    suffix: str = ""
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    known: File | None = Field(None, description="An example of which parts are kept.")
    keep: str = Field("1", max_length=100, description="The parts of `known` to keep, as in 1 or 1,4.")
    where: str | None = Field(None, min_length=1, max_length=4000, description="Of tables: as in sex=Female,age>60.")
    options: Options = Field(default_factory=dict)
    format: Literal["json", "file"] = "json"

    @property
    def stops(self) -> tuple[str, ...]:
        return () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
