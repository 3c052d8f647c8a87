"""The api room, without sockets."""
