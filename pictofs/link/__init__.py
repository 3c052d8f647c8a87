"""The socket between the serving and the fetching process: messages, frames, client, server.

`Client` runs in the serving process without a thread of its own; `Server` in the fetching process' event
loop. Both check that the other end belongs to the same user.
"""

from pictofs.link.client import Client
from pictofs.link.frames import LinkLost
from pictofs.link.server import Peer, Receiver, Server

__all__ = ["Client", "LinkLost", "Peer", "Receiver", "Server"]
