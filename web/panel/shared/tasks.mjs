/** Tasks of the server that take long, followed to their ends. */

/** @import { Task } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Client } from "./client.mjs" */

import { mayPass, RequestError } from "./client.mjs";
import { errorText } from "./error_text.mjs";
import * as format from "./format.mjs";

const POLL_MS = 300;
const RETRY_MS = 2000;

/**
 * Receives the state of a running task, and each error of a request before that is sent again.
 * @typedef {{ onProgress: (task: Task) => void, onTrouble: (error: unknown) => void }} TaskListener
 */

/**
 * Show the progress of a task, with a button that cancels it, until it ends. Returns the task; throws an error if the
 * server does not know it.
 *
 * @param {PanelContext} context
 * @param {string} id
 * @param {string} label
 */
export async function followTask(context, id, label) {
  const { client, notifications, t, language } = context;
  const cancel = () => cancelTask(context, id, t("task.cancelFailed"));
  const progress = notifications.progress(label, { label: t("common.cancel"), action: cancel });
  let part = 0;
  try {
    return await watchTask(client, id, {
      onProgress: ({ result }) => {
        const [done = 0, total = 0] = [result?.done, result?.total];
        const [shownDone, shownTotal] = [done, total].map((each) => format.number(each, language));
        part = total > 0 ? done / total : 0;
        progress.show(t("task.progress", { label, done: shownDone, total: shownTotal }), part);
      },
      onTrouble: (error) => progress.show(`${label}: ${errorText(t, error)}`, part),
    });
  } finally {
    progress.close();
  }
}

/**
 * Return the result of a task that has ended, also of one that was cancelled. Throws an error if it failed.
 *
 * @template {{ total: number, done: number }} Result
 * @param {Task} task
 * @returns {Result}
 */
export function resultOf({ status, result, error_message: reason }) {
  if (status === "failed") throw new Error(reason ?? status);
  return /** @type {Result} */ (result ?? { total: 0, done: 0 });
}

/**
 * Cancel a task, and show if that failed. Returns whether the task has ended or will end: what has just ended cannot be
 * cancelled any more.
 *
 * @param {PanelContext} context
 * @param {string} id
 * @param {string} failure the text above the reason
 */
export async function cancelTask({ client, notifications }, id, failure) {
  try {
    await client.request("DELETE", `/tasks/${id}`);
  } catch (error) {
    if (error instanceof RequestError && error.code === "TASK_NOT_CANCELLABLE") return true;
    notifications.error(failure, error);
    return false;
  }
  return true;
}

/**
 * Wait for the end of a task, and return it. Tasks go on while the server cannot be reached, or end with its restart:
 * both are seen once it can be asked again.
 *
 * @param {Client} client
 * @param {string} id
 * @param {TaskListener} listener
 * @param {AbortSignal} [signal] stops waiting, but not the task
 * @returns {Promise<Task>}
 */
export async function watchTask(client, id, { onProgress, onTrouble }, signal) {
  for (;;) {
    const task = await untilReached(() => client.get(`/tasks/${id}`, { signal }), onTrouble);
    if (task.status !== "created" && task.status !== "running") return task;
    onProgress(task);
    await passed(POLL_MS);
  }
}

/**
 * Send a request that only reads until the server responds to it.
 *
 * @template Result
 * @param {() => Promise<Result>} request
 * @param {(error: unknown) => void} onTrouble
 */
export async function untilReached(request, onTrouble) {
  for (;;) {
    try {
      return await request();
    } catch (error) {
      if (!mayPass(error)) throw error;
      onTrouble(error);
    }
    await passed(RETRY_MS);
  }
}

/** @param {number} milliseconds */
function passed(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
