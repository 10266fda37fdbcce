"""An A2A agent made with the SDK for Python 1.3 (`pip install 'a2a-sdk[http-server]==1.3.0' uvicorn`).

    python server.py            it prints the port it listens on

It knows what the agents of the other scripts know: it says `done` to `hello`, asks to `ask`, works in
pieces at `work`, and works at `wait` until it is told to stop. It posts changes where a client wants them.
"""

import asyncio
import socket

import httpx
import uvicorn
from a2a.helpers import get_message_text, new_task_from_user_message, new_text_part
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from starlette.applications import Starlette


class Widgets(AgentExecutor):
    async def execute(self, context, event_queue):
        task = context.current_task
        if not task:
            task = new_task_from_user_message(context.message)
            await event_queue.enqueue_event(task)
        said = TaskUpdater(event_queue, task.id, task.context_id)
        match get_message_text(context.message):
            case "ask":
                question = said.new_agent_message([new_text_part("which?")])
                await said.requires_input(question)
            case "work":
                await said.start_work()
                for number, text in enumerate("abc"):
                    await said.add_artifact(
                        [new_text_part(text)], "r", append=number > 0, last_chunk=text == "c"
                    )
                await said.complete()
            case "wait":
                await said.start_work()
                await asyncio.Event().wait()
            case "chat":
                await said.failed(said.new_agent_message([new_text_part("no small talk")]))
            case text:
                answer = "done" if text == "hello" else f"{text} it is"
                await said.add_artifact([new_text_part(answer)], name="result")
                await said.complete()

    async def cancel(self, context, event_queue):
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def card(url):
    return AgentCard(
        name="Widgets",
        description="Sells widgets.",
        version="1",
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0"),
            AgentInterface(url=url, protocol_binding="HTTP+JSON", protocol_version="1.0"),
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="sell", name="Sell", description="Sells.", tags=["widgets"])],
    )


async def main():
    door = socket.create_server(("127.0.0.1", 0))
    port = door.getsockname()[1]
    described = card(f"http://127.0.0.1:{port}")
    configs = InMemoryPushNotificationConfigStore()
    async with httpx.AsyncClient(timeout=30) as http:
        handler = DefaultRequestHandler(
            Widgets(),
            InMemoryTaskStore(),
            described,
            push_config_store=configs,
            push_sender=BasePushNotificationSender(http, configs),
        )
        routes = [
            *create_agent_card_routes(described),
            *create_jsonrpc_routes(handler, "/"),
            *create_rest_routes(handler),
        ]
        print(port, flush=True)
        config = uvicorn.Config(Starlette(routes=routes), log_level="warning")
        await uvicorn.Server(config).serve(sockets=[door])


asyncio.run(main())
