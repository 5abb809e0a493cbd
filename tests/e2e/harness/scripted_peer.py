"""A BitTorrent peer that does as the test says: it lies, keeps silent, trickles or hangs up.

On the wire it is real: TCP, the handshake of BEP 3, extensions (BEP 10) and metadata (BEP 9). It
has no content to give. It speaks plain text alone, and hangs up on peers that begin an encrypted
handshake, as clients without encryption do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import threading
import time
from typing import Callable, Sequence

from harness.torrents import bencode

PROTOCOL = b"\x13BitTorrent protocol"
HANDSHAKE = 68  # bytes: protocol, reserved, info-hash, peer id
EXTENSIONS = b"\0\0\0\0\0\x10\0\0"  # reserved bits: BEP 10
INTERESTED = b"\x02"  # BEP 3: the message
EXTENDED = 20  # BEP 10: the message
EXTENDED_HANDSHAKE = 0
UT_METADATA = 3  # what this peer calls the messages of BEP 9
UT_PEX = 4  # … and those of BEP 11, which it does not read
REQUEST, DATA, REJECT = range(3)  # BEP 9: msg_type
BLOCK = 16384  # BEP 9: of metadata
LONGEST = 1 << 20  # no message to this peer is longer
START_S = 10.0

Answer = Callable[[int], "bytes | None"]


def blocks_of(metadata: bytes) -> Answer:
    """What an honest peer answers."""
    return lambda piece: metadata[piece * BLOCK : (piece + 1) * BLOCK] or None


def integer(message: bytes, key: bytes) -> int:
    """An integer of a flat bencoded dictionary."""
    start = message.index(b"%d:%si" % (len(key), key)) + len(b"%d:%si" % (len(key), key))
    return int(message[start : message.index(b"e", start)])


class ScriptedPeer:
    """Listens on 127.0.0.1 and answers for every info-hash it is asked for."""

    def __init__(
        self,
        metadata: bytes = b"",
        *,
        size: int | None = None,
        answer: Answer | None = None,
        rejects: bool = False,
        silent: bool = False,
        hang_up: int = 0,
        rate: int = 0,
        port: int = 0,
        tells: Sequence[tuple[int, bytes]] = (),
        client: bytes = b"-SC0100-",
    ) -> None:
        """size: what it says its metadata has (None: as much as it has). answer: gives the block of
        metadata for a number (None: the honest one); where that gives None the peer does not
        answer, or says that it has none (rejects). silent: it does not even answer the handshake.
        hang_up: how many of the first connections it closes at once. rate: bytes/s it sends, 0: as
        fast as it goes. port: where it listens, 0: anywhere. tells: messages (number, body) of
        BEP 10 that it sends when it has got the other's handshake, whatever that says. client: what
        its peer id begins with (BEP 20)."""
        self._size = len(metadata) if size is None else size
        self._answer = answer or blocks_of(metadata)
        self._rejects = rejects
        self._silent = silent
        self._hang_up = hang_up
        self._rate = rate
        self._listen = port
        self._tells = tells
        self._client = client
        self._lock = threading.Lock()
        self._dials: list[float] = []  # under _lock
        self._requests: list[int] = []  # under _lock
        self._handshakes: list[bytes] = []  # under _lock
        self._wanted: list[float] = []  # under _lock
        self._data = 0  # under _lock
        self._open = 0  # under _lock
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        if not self._up.wait(START_S):
            raise AssertionError("the scripted peer does not start")

    @property
    def peer(self) -> str:
        return f"127.0.0.1:{self.port}"

    def dials(self) -> list[float]:
        """When (time.monotonic()) somebody connected."""
        with self._lock:
            return list(self._dials)

    def requests(self) -> list[int]:
        """The blocks of metadata that were asked for."""
        with self._lock:
            return list(self._requests)

    def wanted(self) -> list[float]:
        """When (time.monotonic()) somebody said that it is interested (BEP 3)."""
        with self._lock:
            return list(self._wanted)

    def handshakes(self) -> list[bytes]:
        """The handshakes of BEP 10 that it got."""
        with self._lock:
            return list(self._handshakes)

    def connected(self) -> int:
        """How many connections it has now."""
        with self._lock:
            return self._open

    def given(self) -> int:
        """How many blocks of metadata it got."""
        with self._lock:
            return self._data

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", self._listen, backlog=1024)
        )
        self.port: int = server.sockets[0].getsockname()[1]
        self._up.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._lock:
            self._dials.append(time.monotonic())
            self._open += 1
            leave = len(self._dials) <= self._hang_up
        try:
            if not leave:
                await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side left
        finally:
            with self._lock:
                self._open -= 1
            with contextlib.suppress(Exception):
                writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._silent:
            while await reader.read(65536):
                pass
            return
        head = await reader.readexactly(len(PROTOCOL))
        if head != PROTOCOL:
            return
        info_hash = (await reader.readexactly(HANDSHAKE - len(PROTOCOL)))[8:28]
        writer.write(PROTOCOL + EXTENSIONS + info_hash + self._client + os.urandom(12))
        handshake: dict[str, object] = {"m": {"ut_metadata": UT_METADATA, "ut_pex": UT_PEX}}
        if self._size > 0:
            handshake["metadata_size"] = self._size
        self._send(writer, EXTENDED_HANDSHAKE, bencode(handshake))
        theirs = 0
        while True:
            (length,) = struct.unpack(">I", await reader.readexactly(4))
            if length > LONGEST:
                return
            message = await reader.readexactly(length)
            if message == INTERESTED:
                with self._lock:
                    self._wanted.append(time.monotonic())
            if len(message) < 2 or message[0] != EXTENDED:
                continue
            if message[1] == EXTENDED_HANDSHAKE:
                if b"11:ut_metadata" in message:
                    theirs = integer(message[2:], b"ut_metadata")
                for kind, body in self._tells:
                    self._send(writer, kind, body)
                with self._lock:
                    self._handshakes.append(message[2:])
            elif message[1] == UT_METADATA and integer(message[2:], b"msg_type") == DATA:
                with self._lock:
                    self._data += 1
            elif message[1] == UT_METADATA and integer(message[2:], b"msg_type") == REQUEST:
                await self._asked(writer, theirs, integer(message[2:], b"piece"))

    async def _asked(self, writer: asyncio.StreamWriter, theirs: int, piece: int) -> None:
        with self._lock:
            self._requests.append(piece)
        block = self._answer(piece)
        if block is not None:
            head = {"msg_type": DATA, "piece": piece, "total_size": self._size}
            await self._trickle(writer, theirs, bencode(head) + block)
        elif self._rejects:
            self._send(writer, theirs, bencode({"msg_type": REJECT, "piece": piece}))

    async def _trickle(self, writer: asyncio.StreamWriter, kind: int, body: bytes) -> None:
        data = struct.pack(">IBB", len(body) + 2, EXTENDED, kind) + body
        if not self._rate:
            writer.write(data)
            return
        step = max(1, self._rate // 10)
        for start in range(0, len(data), step):
            writer.write(data[start : start + step])
            await writer.drain()
            await asyncio.sleep(0.1)

    @staticmethod
    def _send(writer: asyncio.StreamWriter, kind: int, body: bytes) -> None:
        writer.write(struct.pack(">IBB", len(body) + 2, EXTENDED, kind) + body)

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(START_S)


Peers = Callable[..., ScriptedPeer]  # starts one
