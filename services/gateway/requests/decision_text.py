"""What classifier and selector are sent of a conversation, from the shape of OpenAI's chat messages."""

from typing import Any

from lumni.chat.v1 import chat_pb2

# What a decision reads of one message and of one conversation, in characters; the rest is counted, not read.
MESSAGE_CHARS = 4000
CONVERSATION_CHARS = 32_000

ROLES = {
    "system": chat_pb2.ROLE_SYSTEM,
    "developer": chat_pb2.ROLE_DEVELOPER,
    "user": chat_pb2.ROLE_USER,
    "assistant": chat_pb2.ROLE_ASSISTANT,
    "tool": chat_pb2.ROLE_TOOL,
    "function": chat_pb2.ROLE_TOOL,
}


def shortened(messages: list[dict[str, Any]]) -> list[chat_pb2.Message]:
    """What a decision reads: the ends of long messages, and the first and the newest turns of long conversations."""
    kept: list[chat_pb2.Message] = []
    room = CONVERSATION_CHARS
    for i, message in reversed(list(enumerate(messages))):
        content = message.get("content")
        parts = content if isinstance(content, list) else []
        text = (
            content
            if isinstance(content, str)
            else "\n".join(p["text"] for p in parts if p["type"] == "text")
        )
        whole = len(text)
        share = min(MESSAGE_CHARS, room)
        if whole > share:
            head = share // 2
            text = text[:head] + text[whole - (share - head) :] if share else ""
        room -= min(whole, share)
        kinds = {part["type"] for part in parts}
        turn = chat_pb2.Message(
            role=ROLES[message["role"]],
            text=text,
            has_image="image_url" in kinds,
            has_audio="input_audio" in kinds,
            has_file="file" in kinds,
            omitted_chars=max(0, whole - share),
        )
        if room > 0 or i == 0 or turn.has_image or turn.has_audio or turn.has_file:
            kept.append(turn)
    return kept[::-1]
