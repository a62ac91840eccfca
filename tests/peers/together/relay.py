#!/usr/bin/env python3
"""A network hop between gateway and server: passes bytes both ways unchanged, and the end of an answer as a piece of its own.

  relay.py PORT TARGET_PORT [PORT TARGET_PORT ...]

On one machine the end of an answer comes together with the answer. Behind an ingress, or over a network, it comes a few
milliseconds later, and a client that hangs up as soon as it has its answer is gone by then: this is when ToolHive writes no
audit record. It changes nothing and records nothing.
"""
import asyncio
import random
import sys

END = b"0\r\n\r\n"  # the last chunk of a body, of HTTP/1.1


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            cut = len(piece) - len(END) if piece.endswith(b"\r\n" + END) else len(piece)
            writer.write(piece[:cut])
            await writer.drain()
            if piece[cut:]:
                await asyncio.sleep(random.uniform(0, 0.02))
                writer.write(piece[cut:])
    except OSError:
        pass
    finally:
        writer.close()


async def serve(port: int, target: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(carry(reader, back), carry(there, writer))

    await (await asyncio.start_server(connected, "127.0.0.1", port)).serve_forever()


async def main(ports: list[int]) -> None:
    await asyncio.gather(*(serve(*pair) for pair in zip(ports[::2], ports[1::2])))


if __name__ == "__main__":
    asyncio.run(main([int(port) for port in sys.argv[1:]]))
