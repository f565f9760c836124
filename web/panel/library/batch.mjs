/** Changes of many assets by one request. */

/** @import { BatchRequest, BatchResponse, BatchResult } from "../api.d.ts" */
/** @import { Client } from "../shared/client.mjs" */

const WAIT_S = 2; // until the response comes without the result
const POLL_MS = 400;

/**
 * Change assets, and wait for the end. Throws a RequestError, or an Error with the reason if the batch failed.
 *
 * @param {Client} client
 * @param {BatchRequest} body
 * @returns {Promise<BatchResult>}
 */
export async function runBatch(client, body) {
  return result(client, await client.post("/assets/batch", { wait: WAIT_S, ...body }));
}

/**
 * Restore what assets had before a batch, and wait for the end.
 *
 * @param {Client} client
 * @param {string} id
 * @returns {Promise<BatchResult>}
 */
export async function undoBatch(client, id) {
  return result(client, await client.post(`/assets/batch/${id}/undo`, { wait: WAIT_S }));
}

/**
 * @param {Client} client
 * @param {BatchResponse} response
 * @returns {Promise<BatchResult>}
 */
async function result(client, { batch_id: id, task_id: task, status, result: found, error_message: reason }) {
  while (task !== undefined && (status === "created" || status === "running")) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const state = await client.get(`/tasks/${task}`);
    status = state.status;
    reason = state.error_message;
    found = /** @type {BatchResult | undefined} */ (state.result);
  }
  if (status === "failed") throw new Error(reason ?? "");
  return found ?? { batch_id: id, action: "", total: 0, done: 0, changed: 0, failed: 0, failures: [] };
}
