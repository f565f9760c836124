"""A ComfyUI node pack that patches the execution queue as public packs do, and with less care.

``task_done`` is wrapped on its class, inside of every other wrapper, and replaced on the queue itself, outside of them.
Now and then it sleeps, waits for the event loop, or ends the prompt without calling the method that it replaces. A
prompt whose extra data contain ``load_exact`` is left alone.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any

import execution
from server import PromptServer

SLEEP_S = 2.0
LOOP_S = 10.0
SLEEPS, WAITS, REPLACES = 0.05, 0.2, 0.1

log = logging.getLogger("load_hostile")
chance = random.Random(7)
NODE_CLASS_MAPPINGS: dict[str, Any] = {}


def wrap_class() -> None:
    """Have every queue sleep now and then once a prompt has ended, and wait for the event loop before."""
    inner = execution.PromptQueue.task_done

    def task_done(self: Any, *args: Any, **kwargs: Any) -> Any:
        if chance.random() < WAITS:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), PromptServer.instance.loop).result(LOOP_S)
        answer = inner(self, *args, **kwargs)
        if chance.random() < SLEEPS:
            time.sleep(SLEEP_S)
        return answer

    execution.PromptQueue.task_done = task_done


def replace_on_queue(queue: Any) -> None:
    """End some prompts without calling what was there before."""
    inner = queue.task_done

    def task_done(item_id: Any, history_result: Any, *args: Any, **kwargs: Any) -> Any:
        with queue.mutex:
            item = queue.currently_running.get(item_id)
        if item is None or "load_exact" in item[3] or chance.random() >= REPLACES:
            return inner(item_id, history_result, *args, **kwargs)
        with queue.mutex:
            queue.currently_running.pop(item_id)
            status = args[0] if args else kwargs.get("status")
            entry = {"prompt": tuple(item[:5]), "status": status._asdict() if status is not None else None}
            queue.history[item[1]] = {"outputs": {}, **entry, **history_result}
        queue.server.queue_updated()
        return None

    queue.task_done = task_done


def on_first_prompt(prompt: Any) -> Any:
    """Patch the queue once all packs have been loaded, so that this comes outside of their wrappers."""
    if not getattr(PromptServer.instance, "load_hostile", False):
        PromptServer.instance.load_hostile = True
        replace_on_queue(PromptServer.instance.prompt_queue)
    return prompt


wrap_class()
PromptServer.instance.add_on_prompt_handler(on_first_prompt)
