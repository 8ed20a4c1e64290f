"""Files of ranges that other tools write: read, and where it makes sense written."""

from tidlq.quantproto.peers.aimet import AIMET_VERSIONS, format_aimet, read_aimet
from tidlq.quantproto.peers.detection import PeerTool, read_peer_ranges
from tidlq.quantproto.peers.model import PeerFile, PeerRange

__all__ = [
    "AIMET_VERSIONS",
    "PeerFile",
    "PeerRange",
    "PeerTool",
    "format_aimet",
    "read_aimet",
    "read_peer_ranges",
]
