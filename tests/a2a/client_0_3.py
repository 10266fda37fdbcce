"""What A2A 0.3 has, by the SDK for Python 0.3.26, as it comes from the registry.

    python client_0_3.py BASE CARD RECEIVER         (AMTP_KEY=…)

CARD is the path of the card below BASE. What the client sees is printed as JSON, the same for every
kind of agent. The agent is that of client_1_0.py.
"""

import asyncio
import json
import os
import sys
import uuid

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientJSONRPCError
from a2a.client.helpers import create_text_message_object
from a2a.types import (
    DeleteTaskPushNotificationConfigParams,
    DeleteTaskPushNotificationConfigRequest,
    DeleteTaskPushNotificationConfigResponse,
    GetTaskPushNotificationConfigParams,
    MessageSendConfiguration,
    PushNotificationAuthenticationInfo,
    PushNotificationConfig,
    TaskArtifactUpdateEvent,
    TaskIdParams,
    TaskPushNotificationConfig,
    TaskQueryParams,
    TaskState,
    TaskStatusUpdateEvent,
)

BASE, CARD, RECEIVER = sys.argv[1:]
KEY = os.environ["AMTP_KEY"]
seen = []


def note(what, value):
    seen.append([what, value])


def texts(parts):
    return [part.root.text for part in parts]


def result(task):
    artifacts = [[it.name, texts(it.parts)] for it in task.artifacts or []]
    return [task.status.state.value, artifacts]


def word(update):
    """What an event says; nothing where it only says that the agent is at work."""
    match update:
        case None:
            return "task"
        case TaskStatusUpdateEvent():
            if update.status.state == TaskState.working and not update.status.message:
                return None
            message = update.status.message
            return [update.status.state.value, *texts(message.parts if message else []), update.final]
        case TaskArtifactUpdateEvent():
            return ["artifact", *texts(update.artifact.parts), bool(update.append), bool(update.last_chunk)]


def message(text, task=None):
    said = create_text_message_object(content=text)
    if task:
        said.task_id, said.context_id = task.id, task.context_id
    return said


async def refused(code, call):
    try:
        await call
    except A2AClientJSONRPCError as told:
        assert told.error.code == code, told
        note("refused", code)
    else:
        sys.exit(f"{code} was expected")


async def send(client, said, **more):
    events = [event async for event in client.send_message(said, **more)]
    return events[-1][0]


async def words(stream):
    heard = [word(update) async for _, update in stream]
    return [it for it in heard if it]


async def sending(client):
    task = await send(client, message("hello"))
    note("blocking", result(task))
    note("history", [[it.role.value, texts(it.parts)] for it in task.history])
    got = await client.get_task(TaskQueryParams(id=task.id))
    assert got.artifacts == task.artifacts and got.context_id == task.context_id
    await refused(-32004, send(client, message("more", task)))
    asked = await send(client, message("ask"))
    note("asked", [asked.status.state.value, texts(asked.status.message.parts)])
    told = await send(client, message("red", asked))
    assert (told.id, told.context_id) == (asked.id, asked.context_id)
    note("told", result(told))
    unknown = message("hello")
    unknown.task_id = str(uuid.uuid4())
    await refused(-32001, send(client, unknown))


async def streaming(client):
    note("stream", await words(client.send_message(message("work"))))
    note("question", await words(client.send_message(message("ask"))))


async def canceling(client, patient):
    begun = await send(patient, message("wait"))
    assert begun.status.state in (TaskState.submitted, TaskState.working), begun
    stream = client.resubscribe(TaskIdParams(id=begun.id))
    first, update = await anext(stream)
    assert first.id == begun.id and update is None
    note("canceled", result(await client.cancel_task(TaskIdParams(id=begun.id))))
    rest = await words(stream)
    assert rest == [["canceled", True]], rest
    await refused(-32002, client.cancel_task(TaskIdParams(id=begun.id)))
    unknown = str(uuid.uuid4())
    await refused(-32001, client.get_task(TaskQueryParams(id=unknown)))
    return begun


async def deleted(http, task):
    """The client has no call for it; the models and the wire are those of the SDK."""
    params = DeleteTaskPushNotificationConfigParams(id=task.id, push_notification_config_id="mine")
    request = DeleteTaskPushNotificationConfigRequest(id="1", params=params)
    body = request.model_dump(mode="json", by_alias=True, exclude_none=True)
    answer = (await http.post(BASE, json=body)).json()
    assert "result" in answer and answer["result"] is None, answer
    DeleteTaskPushNotificationConfigResponse.model_validate(answer)


async def posting(http, client, patient, begun):
    config = PushNotificationConfig(
        id="mine",
        url=RECEIVER,
        token="token-0",
        authentication=PushNotificationAuthenticationInfo(schemes=["Bearer"], credentials="secret-0"),
    )
    wanted = TaskPushNotificationConfig(task_id=begun.id, push_notification_config=config)
    made = await client.set_task_callback(wanted)
    assert made.push_notification_config.url == RECEIVER, made
    one = GetTaskPushNotificationConfigParams(id=begun.id, push_notification_config_id="mine")
    assert await client.get_task_callback(one) == made
    await deleted(http, begun)
    await refused(-32001, client.get_task_callback(one))
    task = await send(
        patient,
        message("work"),
        configuration=MessageSendConfiguration(push_notification_config=config),
    )
    return task.id


async def main():
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        card = await A2ACardResolver(http, BASE).get_agent_card(relative_card_path=CARD)
        assert card.protocol_version.startswith("0.3") and card.preferred_transport == "JSONRPC"
        note("card", [card.capabilities.streaming, card.capabilities.push_notifications])

        def client(**more):
            return ClientFactory(ClientConfig(httpx_client=http, **more)).create(card)

        plain, streams = client(streaming=False), client()
        patient = client(streaming=False, polling=True)
        await sending(plain)
        await streaming(streams)
        begun = await canceling(streams, patient)
        posted = await posting(http, plain, patient, begun)
    print(json.dumps({"seen": seen, "posted": posted}))


asyncio.run(main())
