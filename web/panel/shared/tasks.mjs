/** Tasks of the server that take long, followed to their ends. */

/** @import { Task } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { Client } from "./client.mjs" */

import * as format from "./format.mjs";

const POLL_MS = 300;

/**
 * Show the progress of a task, with a button that cancels it, until it ends. Returns its result, also of one that was
 * cancelled; throws an error if it failed, or the server cannot be asked.
 *
 * @template {{ total: number, done: number }} Result
 * @param {PanelContext} context
 * @param {string} id
 * @param {string} label
 * @returns {Promise<Result>}
 */
export async function followTask({ client, notifications, t, language }, id, label) {
  const cancel = async () => {
    try {
      await client.request("DELETE", `/tasks/${id}`);
    } catch (error) {
      notifications.error(t("task.cancelFailed"), error);
    }
  };
  const progress = notifications.progress(label, { label: t("common.cancel"), action: cancel });
  try {
    const task = await watchTask(client, id, (running) => {
      const result = running.result ?? {};
      const [done = 0, total = 0] = [result.done, result.total];
      const [shownDone, shownTotal] = [done, total].map((each) => format.number(each, language));
      progress.show(t("task.progress", { label, done: shownDone, total: shownTotal }), total > 0 ? done / total : 0);
    });
    if (task.status === "failed") throw new Error(task.error_message ?? task.status);
    return /** @type {Result} */ (task.result ?? { total: 0, done: 0 });
  } finally {
    progress.close();
  }
}

/**
 * Wait for the end of a task, and return it.
 *
 * @param {Client} client
 * @param {string} id
 * @param {(task: Task) => void} onProgress
 * @param {AbortSignal} [signal] stops waiting, but not the task
 * @returns {Promise<Task>}
 */
export async function watchTask(client, id, onProgress, signal) {
  for (;;) {
    const task = await client.get(`/tasks/${id}`, { signal });
    if (task.status !== "created" && task.status !== "running") return task;
    onProgress(task);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
