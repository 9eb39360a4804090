"""Conversations. A run that was trained on them (`--task chat`) replies to what was said. Another one knows no form of
conversation unless the person who serves it says one: a template in Jinja, as models of transformers have
(`chat_template.jinja`), which makes a conversation a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from genloom.core.errors import InputError, Unreadable
from genloom.data.dialogues import history, in_order, messages_of
from genloom.studio.errors import Refused


def said(messages: Sequence[Mapping[str, str]]) -> str:
    """A conversation as runs that were trained on them read it. Raises Refused for roles out of order."""
    try:
        turns = in_order(messages_of(messages))
    except Unreadable as e:
        raise Refused(400, f"messages: {e}", param="messages") from None
    if turns[-1].role != "user":
        raise Refused(400, "messages: the last must be the user's", param="messages")
    return history(turns)


class Template:
    """Makes the prompt of a conversation."""

    def __init__(self, path: Path) -> None:
        """Raises InputError for a file that is no template."""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        try:
            self.template = environment.from_string(path.read_text("utf-8-sig"))
        except (OSError, UnicodeDecodeError, TemplateError) as e:
            raise InputError(f"{path} is not a template in Jinja: {getattr(e, 'strerror', None) or e}") from None

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt after which the next message of the assistant comes. Raises Refused."""
        try:
            return self.template.render(
                messages=messages, add_generation_prompt=True, bos_token="", eos_token="", tools=None
            )
        except TemplateError as e:
            raise Refused(400, f"messages: the template refuses them: {e}", param="messages") from None


def _refuse(message: str) -> None:
    raise TemplateError(message)
