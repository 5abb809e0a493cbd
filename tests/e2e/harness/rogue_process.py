"""A peer in a process of its own that gives what it likes of what it says it has.

On the wire it is real: TCP, the messages of BEP 3, with the fast extension (BEP 6) or without, for
v2 the messages of BEP 52. Its one argument is a JSON object (see harness.rogue); it prints the port it listens at,
and for each line on stdin a JSON object of what has happened, of "asked" how much it was asked for of
each piece; a number there is its rate from then on, and with "give" it gives all that it is asked
for. It ends with its stdin.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
import threading
import time
from typing import Any

PROTOCOL = b"\x13BitTorrent protocol"
HANDSHAKE = 68  # bytes: protocol, reserved, info-hash, peer id
FAST = 0x04  # reserved[7]
BLOCK = 16384
LONGEST = 1 << 20
CHOKE, UNCHOKE, NOT_INTERESTED, HAVE = 0, 1, 3, 4
BITFIELD, REQUEST, PIECE, CANCEL, HAVE_ALL, REJECT = 5, 6, 7, 8, 14, 16
HASH_REQUEST, HASH_REJECT = 21, 23
FLOOD_BLOCKS = 16  # at once
LATE_S = 0.5  # so much of what it should have sent is made up for, at once


class Outgoing:
    """What one connection was asked for, sent in order and no faster than told."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.queue: list[tuple[int, int]] = []  # under ready
        self.ready = threading.Condition()
        self.over = False  # under ready

    def ask(self, piece: int, start: int) -> None:
        with self.ready:
            self.queue.append((piece, start))
            self.ready.notify()

    def cancel(self, piece: int, start: int) -> bool:
        with self.ready:
            if (piece, start) not in self.queue:
                return False
            self.queue.remove((piece, start))
            return True

    def end(self) -> None:
        with self.ready:
            self.over = True
            self.ready.notify()

    def send(self, rogue: Rogue, sending: threading.Lock) -> None:
        due = time.monotonic()
        while True:
            with self.ready:
                rests = not self.queue
                self.ready.wait_for(lambda: self.over or self.queue)
                if self.over:
                    return
            if rests:
                due = max(due, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            with self.ready:
                if not self.queue:
                    continue  # it was taken back meanwhile
                wanted = self.queue.pop(0)
            data = rogue.block(*wanted)
            # On a busy machine it wakes late.
            due = max(due, time.monotonic() - LATE_S) + len(data) / rogue.rate
            try:
                with sending:
                    self.connection.sendall(data)
            except OSError:
                return


class Shown:
    """What one connection was shown of the pieces, one by one and in order (BEP 16)."""

    def __init__(self, rogue: Rogue) -> None:
        self._rogue = rogue
        self._piece = 0
        self._given = 0  # blocks of it
        self.uninteresting = False

    def have(self) -> bytes:
        return struct.pack(">IBI", 5, HAVE, self._piece)

    def gave(self, piece: int) -> bytes:
        """A block of that piece is given: what is shown then."""
        rogue = self._rogue
        size = min(rogue.piece_length, rogue.length - piece * rogue.piece_length)
        self._given += piece == self._piece
        if self._given < -(-size // BLOCK) or self._piece + 1 == rogue.pieces:
            return b""
        self._piece += 1
        self._given = 0
        return self.have()


class Rogue:
    def __init__(self, options: dict[str, Any]) -> None:
        self.info_hash = bytes.fromhex(options["info_hash"])[:20]
        self.length = int(options["length"])
        self.piece_length = int(options["piece_length"])
        self.content = os.open(options["blob"], os.O_RDONLY)
        self.floods = bool(options["floods"])
        self.garbage = float(options["garbage"])
        self.lies = options["lies"]  # None: without end
        self.gives = options["gives"]  # None: whatever it is asked for
        self.rejects = bool(options["rejects"])
        self.rejects_hashes = bool(options["rejects_hashes"])
        self.rate = int(options["rate"])
        self.repeats = bool(options["repeats"])
        self.fast = bool(options["fast"])
        self.away = float(options["away"])
        self.pieces = -(-self.length // self.piece_length)
        self.shows = bool(options["shows"])
        self.has = range(*(options["has"] or (0, 0 if self.shows else self.pieces)))
        self.asked: dict[int, int] = {}  # under lock; in the order of the first block asked for
        self.noise = os.urandom(BLOCK)
        self.lock = threading.Lock()
        self.done = dict.fromkeys(  # under lock
            (
                "connections",
                "asked",
                "cancelled",
                "garbage",
                "flooded",
                "repeated",
                "choked",
                "hash_requests",
                "open",
            ),
            0,
        )

    def count(self, what: str, n: int = 1) -> None:
        with self.lock:
            self.done[what] += n

    def block(self, piece: int, start: int) -> bytes:
        """A message with random bytes for that block, or with the right ones if it is to be so."""
        offset = piece * self.piece_length + start
        length = min(BLOCK, self.length - offset, self.piece_length - start)
        head = struct.pack(">IBII", 9 + length, PIECE, piece, start)
        if random.random() < self.garbage and self.lies != 0:
            self.lies = self.lies and self.lies - 1
            self.count("garbage")
            turn = random.randrange(BLOCK)
            return head + (self.noise[turn:] + self.noise[:turn])[:length]
        return head + os.pread(self.content, length, offset)

    def flood(self, connection: socket.socket, sending: threading.Lock) -> None:
        """Blocks that nobody has asked for, at random, as fast as they are taken."""
        blocks = (self.length + BLOCK - 1) // BLOCK
        in_piece = self.piece_length // BLOCK
        try:
            while True:
                some = [random.randrange(blocks) for _ in range(FLOOD_BLOCKS)]
                data = b"".join(self.block(n // in_piece, n % in_piece * BLOCK) for n in some)
                with sending:
                    connection.sendall(data)
                self.count("flooded", FLOOD_BLOCKS)
        except OSError:
            pass

    def talk(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        head = stream.read(HANDSHAKE)
        if len(head) < HANDSHAKE or head[: len(PROTOCOL)] != PROTOCOL:
            return  # an encrypted handshake: it is called again in plain text
        self.count("connections")
        sending = threading.Lock()
        reserved = bytes(7) + bytes([FAST if self.fast else 0])
        mine = PROTOCOL + reserved + self.info_hash + b"-RG0100-" + os.urandom(12)
        time.sleep(self.away)
        connection.sendall(mine + self.what_it_has() + struct.pack(">IB", 1, UNCHOKE))
        outgoing = Outgoing(connection)
        if self.rate:
            threading.Thread(target=outgoing.send, args=(self, sending), daemon=True).start()
        try:
            self.listen_to(stream, connection, sending, outgoing)
        finally:
            outgoing.end()

    def what_it_has(self) -> bytes:
        if self.fast and len(self.has) == self.pieces:
            return struct.pack(">IB", 1, HAVE_ALL)
        field = bytearray(-(-self.pieces // 8))
        for piece in self.has:
            field[piece // 8] |= 0x80 >> piece % 8
        return struct.pack(">IB", 1 + len(field), BITFIELD) + field

    def listen_to(
        self,
        stream: Any,
        connection: socket.socket,
        sending: threading.Lock,
        outgoing: Outgoing,
    ) -> None:
        if self.floods:
            threading.Thread(target=self.flood, args=(connection, sending), daemon=True).start()
        shown = Shown(self) if self.shows else None
        if shown:
            connection.sendall(shown.have())
        while len(size := stream.read(4)) == 4:
            (length,) = struct.unpack(">I", size)
            if length > LONGEST:
                return
            message = stream.read(length)
            if not message or len(message) < length:
                continue
            answer = b""
            if shown and message[0] == NOT_INTERESTED:
                shown.uninteresting = True
                self.count("choked")
                answer = struct.pack(">IB", 1, CHOKE)
            elif shown and shown.uninteresting:
                continue
            elif message[0] == REQUEST:
                self.count("asked")
                with self.lock:
                    piece = struct.unpack(">I", message[1:5])[0]
                    self.asked[piece] = self.asked.get(piece, 0) + 1
                if self.gives == 0:
                    if self.rejects:
                        with sending:
                            connection.sendall(struct.pack(">IB", 13, REJECT) + message[1:13])
                    continue
                self.gives = self.gives and self.gives - 1
                if self.rate:
                    outgoing.ask(*struct.unpack(">II", message[1:9]))
                    continue
                piece, offset = struct.unpack(">II", message[1:9])
                answer = self.block(piece, offset)
                if self.repeats and offset == 0:
                    self.count("repeated")
                    answer += answer
                if shown:
                    answer += shown.gave(piece)
            elif message[0] == CANCEL:
                # No answer, which without BEP 6 is right and with it is not.
                if outgoing.cancel(*struct.unpack(">II", message[1:9])):
                    self.count("cancelled")
            elif message[0] == HASH_REQUEST:
                self.count("hash_requests")
                if self.rejects_hashes:
                    answer = struct.pack(">IB", length, HASH_REJECT) + message[1:]
            if answer:
                with sending:
                    connection.sendall(answer)

    def serve(self, connection: socket.socket) -> None:
        self.count("open")
        try:
            self.talk(connection)
        except OSError:
            pass
        finally:
            self.count("open", -1)
            try:
                connection.shutdown(socket.SHUT_RDWR)  # the flood's thread ends too
            except OSError:
                pass
            connection.close()

    def listen(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()


def main() -> None:
    options = json.loads(sys.argv[1])
    rogue = Rogue(options)
    listener = socket.create_server((options["address"], 0), backlog=128)
    threading.Thread(target=rogue.listen, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    for line in sys.stdin:
        if line.strip().isdigit():
            rogue.rate = int(line)
        if line.strip() == "give":
            rogue.gives = None
        with rogue.lock:
            said = json.dumps(rogue.asked if line.strip() == "asked" else rogue.done)
        print(said, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
