"""Asks an agent by A2A 1.0: AMTP_KEY=… python a2a_ask.py https://example.com/a2a/orders/ "Order a widget" (a2a-sdk 1.3)."""

import asyncio, os, sys

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.helpers import get_stream_response_text, new_text_message
from a2a.types import Role, SendMessageRequest


async def ask(url, text):
    headers = {"Authorization": f"Bearer {os.environ['AMTP_KEY']}"}
    async with httpx.AsyncClient(headers=headers, timeout=None) as http:
        client = await ClientFactory(ClientConfig(httpx_client=http)).create_from_url(url)
        message = new_text_message(text, role=Role.ROLE_USER)
        async for event in client.send_message(SendMessageRequest(message=message)):
            print(event.WhichOneof("payload"), get_stream_response_text(event))


asyncio.run(ask(*sys.argv[1:]))
