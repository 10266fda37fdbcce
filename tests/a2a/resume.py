"""A client of the SDK for Python 1.3 that follows a task, also over a crash of the gateway.

    python resume.py BASE       (AMTP_KEY=…)

It prints what it hears, a line each: the task's texts as far as it has them, or the end. When the stream
breaks off it says `lost` and subscribes again until that works.
"""

import asyncio
import os
import sys
import uuid

import httpx
from a2a.client import A2AClientError, ClientConfig, ClientFactory
from a2a.types import Message, Part, Role, SendMessageRequest, SubscribeToTaskRequest, TaskState


async def follow(stream):
    """The id of the task, and whether its end was heard."""
    task = None
    try:
        async for event in stream:
            match event.WhichOneof("payload"):
                case "task":
                    task = event.task.id
                    texts = [part.text for it in event.task.artifacts for part in it.parts]
                    print("task", *texts, flush=True)
                case "artifact_update":
                    print(*[part.text for part in event.artifact_update.artifact.parts], flush=True)
                case "status_update":
                    if event.status_update.status.state == TaskState.TASK_STATE_COMPLETED:
                        print("end", flush=True)
                        return task, True
    except A2AClientError:
        pass
    return task, False


async def main(base):
    headers = {"Authorization": f"Bearer {os.environ['AMTP_KEY']}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        client = await ClientFactory(ClientConfig(httpx_client=http)).create_from_url(base)
        said = Message(message_id=str(uuid.uuid4()), role=Role.ROLE_USER, parts=[Part(text="hello")])
        task, ended = await follow(client.send_message(SendMessageRequest(message=said)))
        if not ended:
            print("lost", flush=True)
        while not ended:
            await asyncio.sleep(0.2)
            _, ended = await follow(client.subscribe(SubscribeToTaskRequest(id=task)))


asyncio.run(main(*sys.argv[1:]))
