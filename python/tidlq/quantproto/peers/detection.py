"""Which tool wrote a file of ranges."""

from __future__ import annotations

import enum
import json

from tidlq.quantproto.peers.aimet import read_aimet
from tidlq.quantproto.peers.model import PeerFile
from tidlq.quantproto.peers.onnxruntime import (
    read_flatbuffers_cache,
    read_json_cache,
    read_text_cache,
)
from tidlq.quantproto.peers.tensorrt import HEAD, read_tensorrt

_AIMET_KEYS = ("activation_encodings", "param_encodings", "encodings")


class PeerTool(enum.Enum):
    """A tool whose files of ranges are read."""

    AIMET = "aimet"
    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"


def read_peer_ranges(content: bytes, where: str, tool: PeerTool | None = None) -> PeerFile:
    """Reads a file of ranges that another tool wrote.

    Args:
        content: of the file.
        where: names the file in messages.
        tool: which; None tells it from the content.

    Raises:
        QuantProtoError: The file is damaged, or of a version that is not known.
    """
    tool = tool or _find_tool(content)
    if tool is PeerTool.AIMET:
        return read_aimet(content, where)
    if tool is PeerTool.TENSORRT:
        return read_tensorrt(content, where)
    if content.lstrip()[:1] == b"{":
        return read_json_cache(content, where)
    # A flatbuffer begins with a small number of four bytes, so with zeros.
    return (read_flatbuffers_cache if b"\0" in content[:64] else read_text_cache)(content, where)


def _find_tool(content: bytes) -> PeerTool:
    first = content.lstrip()[:200].decode("utf-8", errors="replace").splitlines()
    if first and HEAD.fullmatch(first[0].strip()):
        return PeerTool.TENSORRT
    if content.lstrip()[:1] == b"{":
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            return PeerTool.AIMET
        if isinstance(document, dict) and any(key in document for key in _AIMET_KEYS):
            return PeerTool.AIMET
    return PeerTool.ONNXRUNTIME
