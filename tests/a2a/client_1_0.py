"""Every operation of A2A 1.0 by the SDK for Python 1.3, as it comes from the registry.

    python client_1_0.py BASE BINDING RECEIVER      (AMTP_KEY=…)

What the client sees is printed as JSON without what differs from task to task: the same for every
kind of agent and both bindings. The agent says `done` to `hello`, asks to `ask`, works in pieces
at `work`, and says nothing to `wait`.
"""

import asyncio
import json
import os
import sys
import uuid

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import (
    AuthenticationInfo,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import (
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

BASE, BINDING, RECEIVER = sys.argv[1:]
KEY = os.environ["AMTP_KEY"]
WAITING = [TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING]
seen = []


def note(what, value):
    seen.append([what, value])


def state(status):
    return TaskState.Name(status.state).removeprefix("TASK_STATE_").lower()


def texts(parts):
    return [part.text for part in parts]


def word(event):
    """What an event says; nothing where it only says that the agent is at work."""
    match event.WhichOneof("payload"):
        case "status_update":
            said = [state(event.status_update.status), *texts(event.status_update.status.message.parts)]
            return None if said == ["working"] else said
        case "artifact_update":
            update = event.artifact_update
            return ["artifact", *texts(update.artifact.parts), update.append, update.last_chunk]
        case other:
            return other


def message(text, task=None, context=""):
    said = Message(message_id=str(uuid.uuid4()), role=Role.ROLE_USER, parts=[Part(text=text)])
    if task:
        said.task_id, said.context_id = task.id, task.context_id
    elif context:
        said.context_id = context
    return SendMessageRequest(message=said)


async def refused(error, call):
    try:
        await call
    except error as told:
        assert str(told), told
        note("refused", error.__name__)
    else:
        sys.exit(f"{error.__name__} was expected")


async def words(stream):
    heard = [word(event) async for event in stream]
    return [it for it in heard if it]


async def last(stream):
    events = [event async for event in stream]
    return events[-1]


async def send(client, request):
    """The task of an answer that is not streamed."""
    return (await last(client.send_message(request))).task


def result(task):
    return [state(task.status), [[it.name, texts(it.parts)] for it in task.artifacts]]


async def sending(client, patient):
    task = await send(client, message("hello"))
    note("blocking", result(task))
    note("history", [[Role.Name(it.role), texts(it.parts)] for it in task.history])
    assert {it.task_id for it in task.history} == {task.id}
    again = await client.get_task(GetTaskRequest(id=task.id, history_length=0))
    assert again.artifacts == task.artifacts and not again.history
    await refused(UnsupportedOperationError, send(client, message("more", task)))
    # A conversation goes on with another task.
    more = await send(client, message("hello", context=task.context_id))
    assert more.id != task.id and more.context_id == task.context_id
    # The agent asks, and the client answers in the same task.
    asked = await send(client, message("ask"))
    note("asked", [state(asked.status), texts(asked.status.message.parts)])
    told = await send(client, message("red", asked))
    assert told.id == asked.id and told.context_id == asked.context_id
    note("told", result(told))
    note("history", [texts(it.parts) for it in told.history])
    unknown = message("hello")
    unknown.message.task_id = str(uuid.uuid4())
    await refused(TaskNotFoundError, send(client, unknown))
    # One that does not wait.
    begun = await send(patient, message("wait"))
    assert begun.status.state in WAITING, begun
    return task, begun


async def streaming(client):
    note("stream", await words(client.send_message(message("work"))))
    note("question", await words(client.send_message(message("ask"))))


async def subscribing(client, patient):
    begun = await send(patient, message("wait"))
    stream = client.subscribe(SubscribeToTaskRequest(id=begun.id))
    first = await anext(stream)
    assert first.task.id == begun.id
    note("canceled", result(await client.cancel_task(CancelTaskRequest(id=begun.id))))
    rest = await words(stream)
    assert rest == [["canceled"]], rest
    await refused(TaskNotCancelableError, client.cancel_task(CancelTaskRequest(id=begun.id)))
    over = client.subscribe(SubscribeToTaskRequest(id=begun.id))
    await refused(UnsupportedOperationError, last(over))
    unknown = GetTaskRequest(id=str(uuid.uuid4()))
    await refused(TaskNotFoundError, client.get_task(unknown))
    await refused(TaskNotFoundError, client.cancel_task(CancelTaskRequest(id=unknown.id)))


async def listing(client, task):
    mine = await client.list_tasks(ListTasksRequest(context_id=task.context_id))
    note("context", [len(mine.tasks), mine.total_size, mine.page_size, mine.next_page_token])
    assert not any(it.artifacts for it in mine.tasks)
    full = ListTasksRequest(context_id=task.context_id, include_artifacts=True, history_length=0)
    assert all(it.artifacts and not it.history for it in (await client.list_tasks(full)).tasks)
    canceled = TaskState.TASK_STATE_CANCELED
    found = await client.list_tasks(ListTasksRequest(status=canceled))
    note("by state", [state(it.status) for it in found.tasks])
    pages, token = [], ""
    while True:
        page = await client.list_tasks(ListTasksRequest(page_size=2, page_token=token))
        pages += [it.id for it in page.tasks]
        token = page.next_page_token
        if not token:
            break
    assert len(pages) == len(set(pages)) == page.total_size
    note("listed", page.total_size)
    await refused(InvalidParamsError, client.list_tasks(ListTasksRequest(page_size=101)))
    await refused(InvalidParamsError, client.list_tasks(ListTasksRequest(page_token="x")))


async def posting(client, patient, begun):
    config = TaskPushNotificationConfig(
        task_id=begun.id,
        id="mine",
        url=RECEIVER,
        token="token-1",
        authentication=AuthenticationInfo(scheme="Bearer", credentials="secret-1"),
    )
    made = await client.create_task_push_notification_config(config)
    assert (made.id, made.url, made.task_id) == ("mine", RECEIVER, begun.id), made
    one = GetTaskPushNotificationConfigRequest(task_id=begun.id, id="mine")
    assert await client.get_task_push_notification_config(one) == made
    every = ListTaskPushNotificationConfigsRequest(task_id=begun.id)
    listed = await client.list_task_push_notification_configs(every)
    assert list(listed.configs) == [made], listed
    gone = DeleteTaskPushNotificationConfigRequest(task_id=begun.id, id="mine")
    await client.delete_task_push_notification_config(gone)
    await client.delete_task_push_notification_config(gone)
    listed = await client.list_task_push_notification_configs(every)
    assert not listed.configs
    await refused(TaskNotFoundError, client.get_task_push_notification_config(one))
    # The receiver is told of this one.
    request = message("work")
    config.task_id = ""
    request.configuration.task_push_notification_config.CopyFrom(config)
    task = await send(patient, request)
    note("posted", True)
    return task.id


async def main():
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        card = await A2ACardResolver(http, BASE).get_agent_card()
        assert card.supported_interfaces[0].protocol_version == "1.0"
        note("card", [card.capabilities.streaming, card.capabilities.push_notifications])
        note("modes", [*card.default_input_modes, *card.default_output_modes])

        def client(**more):
            config = ClientConfig(httpx_client=http, supported_protocol_bindings=[BINDING], **more)
            return ClientFactory(config).create(card)

        plain, streams = client(streaming=False), client()
        patient = client(streaming=False, polling=True)
        task, begun = await sending(plain, patient)
        await streaming(streams)
        await subscribing(streams, patient)
        await listing(plain, task)
        posted = await posting(plain, patient, begun)
    print(json.dumps({"seen": seen, "posted": posted}))


asyncio.run(main())
