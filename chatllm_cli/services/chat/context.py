"""What a request carries of the conversation, and what a reply was worth."""

from dataclasses import replace

from chatllm_cli.errors import UsageError
from chatllm_cli.message_content import content_of, text_in
from chatllm_cli.models import ChatOptions, Content, Conversation, Endpoint, Message, Role, Status

Messages = tuple[tuple[Role, Content], ...]

# OpenAI's words, and those of compatible servers that pass on the words of the model behind them.
FINISH_REASONS = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "eos", "eos_token"), Status.COMPLETE),
    **dict.fromkeys(("length", "max_tokens", "model_length"), Status.TRUNCATED),
    **dict.fromkeys(("content_filter", "safety", "refusal"), Status.FILTERED),
    **dict.fromkeys(("error", "insufficient_system_resource"), Status.ERROR),
}
GO_ON = "Your answer was cut off. Go on exactly where it stopped, without repeating any of it and without a remark."


def context(conversation: Conversation) -> Messages:
    """Return what to send: system prompt, earlier turns, prompt.

    A prompt that brought no text back stays in the history but is not sent again: the next prompt stands in
    its place, and many servers refuse two prompts in a row. So they do two replies, or a tool's words between two,
    as conversations from elsewhere have them: all that follows on a prompt is sent as one reply.
    """
    sent: list[tuple[Role, Content]] = []
    if conversation.system_prompt:
        sent.append((Role.SYSTEM, conversation.system_prompt))
    prompt: Message | None = None
    for message in conversation.thread():
        if message.role is Role.USER:
            prompt = message
        elif prompt and message.content:
            sent += [(Role.USER, content_of(prompt)), (Role.ASSISTANT, message.content)]
            prompt = None
        elif message.content and sent and sent[-1][0] is Role.ASSISTANT:
            sent[-1] = (Role.ASSISTANT, f"{text_in(sent[-1][1])}\n\n{message.content}")
    if prompt:
        sent.append((Role.USER, content_of(prompt)))
    return tuple(sent)


def context_to_go_on(conversation: Conversation, endpoint: Endpoint) -> Messages:
    """Return what to send so that the model goes on with its last reply.

    llama.cpp goes on by itself with a reply that stands last; others have to be told, and many refuse it
    without a prompt behind it.
    """
    sent = context(conversation)
    return sent if endpoint.is_embedded else (*sent, (Role.USER, GO_ON))


def with_schema(messages: Messages, schema: str) -> Messages:
    """Return what to send with the schema in its standing instruction: not every provider takes it otherwise."""
    wanted = f"Answer with JSON alone, without a word before or after it. It has to fit this JSON Schema: {schema}"
    if messages and messages[0][0] is Role.SYSTEM:
        return ((Role.SYSTEM, f"{text_in(messages[0][1])}\n\n{wanted}"), *messages[1:])
    return ((Role.SYSTEM, wanted), *messages)


def options_besides(endpoint: Endpoint, max_tokens: int) -> ChatOptions:
    """Return the options for what nobody asked for but us: those of the model, but for what shapes its answers."""
    return replace(endpoint.options, max_tokens=max_tokens, stop=(), schema="")


def unfinished_reply(conversation: Conversation) -> Message | None:
    """Return the reply that can be taken up, which may have no text; None if the last prompt has none at all.

    Raises `UsageError` if there is nothing to take up.
    """
    thread = conversation.thread()
    if not thread or (thread[-1].role is Role.ASSISTANT and thread[-1].status is Status.COMPLETE):
        raise UsageError("the last answer is complete: there is nothing to continue", hint="give a prompt to go on")
    if thread[-1].role is not Role.ASSISTANT:
        return None
    if thread[-1].content and context(conversation)[-1:] != ((Role.ASSISTANT, thread[-1].content),):
        raise UsageError(
            "the prompt of the last answer is damaged: it cannot be continued", hint="give a prompt to go on"
        )
    return thread[-1]


def status_of(finish_reason: str | None, *, marks_end: bool = False) -> Status:
    """Return what a reply is worth that ended with `finish_reason`, as the provider named it.

    Only an end that is known to be one makes a whole answer; a reason that nobody knows is none. No reason is a
    cut where the provider is known to give one.
    """
    if finish_reason is None and marks_end:
        return Status.TRUNCATED
    return FINISH_REASONS.get((finish_reason or "").lower(), Status.UNKNOWN_END)
