/** Tasks of the server that take long, followed to their ends. */

/** @import { PanelContext } from "../types.d.ts" */

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
    for (;;) {
      const task = await client.get(`/tasks/${id}`);
      const result = /** @type {Result} */ (task.result ?? { total: 0, done: 0 });
      if (task.status === "failed") throw new Error(task.error_message ?? task.status);
      if (task.status !== "running" && task.status !== "created") return result;
      const [done, total] = [result.done, result.total].map((each) => format.number(each, language));
      progress.show(t("task.progress", { label, done, total }), result.total > 0 ? result.done / result.total : 0);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } finally {
    progress.close();
  }
}
