"""A slow wire in front of a port of loopback: every connection shares one bandwidth, and each way takes half a round trip."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

PIECE = 16 * 1024
SLACK = 0.02  # seconds


class Wire:
    """Latency in seconds for a round trip, bandwidth in bytes a second for all connections together, towards the client."""

    def __init__(self, round_trip: float, bandwidth: float) -> None:
        self.round_trip = round_trip
        self.bandwidth = bandwidth
        self.bytes = 0
        self._free_at = 0.0

    @contextlib.asynccontextmanager
    async def before(self, host: str, port: int) -> AsyncIterator[int]:
        """A port that leads to that one through the wire."""
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(self.round_trip)  # loopback's handshake took nothing
            far_reader, far_writer = await asyncio.open_connection(host, port)
            for source, sink, narrow in ((reader, far_writer, False), (far_reader, writer, True)):
                task = asyncio.create_task(self._carry(source, sink, narrow=narrow))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tuple(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, narrow: bool) -> None:
        loop = asyncio.get_running_loop()
        arriving: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)

        async def deliver() -> None:
            while True:
                at, piece = await arriving.get()
                await asyncio.sleep(at - loop.time())
                if not piece:
                    sink.close()
                    return
                sink.write(piece)
                await sink.drain()

        delivery = asyncio.create_task(deliver())
        try:
            piece = b"-"
            while piece:
                piece = await source.read(PIECE)
                at = now = loop.time()
                if narrow:
                    self.bytes += len(piece)
                    # What a late wake-up of this process has lost is made up for; the sender is held back as by TCP.
                    self._free_at = max(now - SLACK, self._free_at) + len(piece) / self.bandwidth
                    at = max(now, self._free_at)
                    if at - now > SLACK:
                        await asyncio.sleep(at - now)
                await arriving.put((at + self.round_trip / 2, piece))
            await delivery
        except ConnectionError:
            pass
        finally:
            delivery.cancel()
            sink.close()
