/**
 * The progress of running jobs. A server sends progress messages only to the page that queued the job. For jobs of other
 * pages and programs the panel polls, while the list is visible.
 */

/** @import { NodeProgress } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

const POLL_MS = 500;
const MAX_JOBS = 100; // entries to keep: a job that ends while the connection is lost is never removed

/**
 * The node that runs, its progress, and the number of finished nodes. `isPushed` says that messages bring it, so that
 * polling is not needed.
 * @typedef {{ node?: string | null, value?: number, max?: number, done?: number, isPushed?: boolean }} Progress
 */

export class LiveUpdates extends EventTarget {
  #client;
  #isVisible;
  /** @type {Map<string, Progress>} by job id */
  #progress = new Map();
  /** @type {string[]} ids */
  #running = [];
  #timer = 0;
  #frame = 0;

  /**
   * @param {PanelContext} context
   * @param {() => boolean} isVisible returns whether the list of jobs can be seen
   */
  constructor({ page, client }, isVisible) {
    super();
    this.#client = client;
    this.#isVisible = isVisible;
    /**
     * @param {string} id
     * @param {Progress} change
     */
    const receive = (id, change) => this.#update(id, { ...change, isPushed: true });
    page.listen("execution_start", ({ prompt_id }) => receive(prompt_id, { node: null, value: 0, max: 0, done: 0 }));
    page.listen("progress_state", ({ prompt_id, nodes }) => receive(prompt_id, summarize(nodes)));
    page.listen("progress", ({ prompt_id, node, value, max }) => receive(prompt_id, { node, value, max }));
    for (const end of /** @type {const} */ (["execution_success", "execution_error", "execution_interrupted"])) {
      page.listen(end, ({ prompt_id }) => this.#remove(prompt_id));
    }
  }

  /**
   * Return the progress of a job, or undefined if it is not known.
   *
   * @param {string} id
   */
  progressOf(id) {
    return this.#progress.get(id);
  }

  /**
   * Set the jobs in view that run now.
   *
   * @param {string[]} ids
   */
  setRunning(ids) {
    for (const id of this.#running) if (!ids.includes(id)) this.#progress.delete(id);
    this.#running = ids;
    if (this.#unreported().length > 0) this.#timer ||= setTimeout(() => this.#poll());
  }

  /** Return the ids of running jobs that no message reports on. */
  #unreported() {
    return this.#running.filter((id) => !this.progressOf(id)?.isPushed);
  }

  async #poll() {
    const ids = this.#isVisible() ? this.#unreported() : [];
    await Promise.allSettled(ids.map((id) => this.#fetch(id))); // the next poll tries again
    this.#timer = this.#unreported().length > 0 ? setTimeout(() => this.#poll(), POLL_MS) : 0;
  }

  /** @param {string} id */
  async #fetch(id) {
    const { nodes } = await this.#client.get(`/jobs/${id}/progress`);
    // It may have ended, or a message may have come, while the request was under way.
    if (this.#unreported().includes(id)) this.#update(id, summarize(nodes));
  }

  /**
   * @param {string | undefined} id undefined in messages of older servers
   * @param {Progress} change
   */
  #update(id, change) {
    if (id === undefined) return;
    this.#progress.set(id, { ...this.#progress.get(id), ...change });
    const [oldest] = this.#progress.keys();
    if (this.#progress.size > MAX_JOBS) this.#progress.delete(oldest);
    this.#notify();
  }

  /** @param {string} id */
  #remove(id) {
    this.#progress.delete(id);
    this.#notify();
  }

  /** Dispatch a change event, at most once a frame: samplers send many messages a second. */
  #notify() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.dispatchEvent(new Event("change"));
    });
  }
}

/**
 * Summarize the progress of all nodes of a job.
 *
 * @param {Record<string, NodeProgress> | undefined} nodes by node id
 * @returns {Progress}
 */
function summarize(nodes = {}) {
  const all = Object.entries(nodes);
  const running = all.find(([, node]) => node.state === "running");
  const done = all.filter(([, node]) => node.state === "finished").length;
  if (running === undefined) return { done };
  const [id, { value, max, display_node_id: displayId }] = running;
  return { node: displayId ?? id, value, max, done }; // nodes that expand others are shown in their place
}
