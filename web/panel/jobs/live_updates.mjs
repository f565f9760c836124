/**
 * How far running jobs are. Servers send messages of that to the page that queued a job; for jobs of other pages and
 * programs the server is asked, as long as somebody looks.
 */

const POLL_MS = 500;
const MAX_JOBS = 100; // jobs that are kept in mind: of some the end is never told

export class LiveUpdates extends EventTarget {
  #client;
  #isVisible;
  #progress = new Map(); // job id -> { node, value, max, done, isPushed }, the last by messages
  #running = []; // ids of the jobs that are executed
  #timer = 0;
  #frame = 0;

  /** `isVisible()` answers whether anybody looks. */
  constructor({ page, client }, isVisible) {
    super();
    this.#client = client;
    this.#isVisible = isVisible;
    const receive = (id, change) => this.#update(id, { ...change, isPushed: true });
    page.listen("execution_start", ({ prompt_id }) => receive(prompt_id, { node: null, value: 0, max: 0, done: 0 }));
    page.listen("progress_state", ({ prompt_id, nodes }) => receive(prompt_id, summarize(nodes)));
    page.listen("progress", ({ prompt_id, node, value, max }) => receive(prompt_id, { node, value, max }));
    for (const end of ["execution_success", "execution_error", "execution_interrupted"]) {
      page.listen(end, ({ prompt_id }) => this.#end(prompt_id));
    }
  }

  /** `{ node, value, max, done }`: the node at work, how far it is, and how many nodes are done; or undefined. */
  progressOf(id) {
    return this.#progress.get(id);
  }

  /** Say which of the jobs in view are executed now. */
  setRunning(ids) {
    for (const id of this.#running) if (!ids.includes(id)) this.#progress.delete(id);
    this.#running = ids;
    if (this.#unreported().length > 0) this.#timer ||= setTimeout(() => this.#poll());
  }

  #unreported() {
    return this.#running.filter((id) => !this.progressOf(id)?.isPushed);
  }

  async #poll() {
    const ids = this.#isVisible() ? this.#unreported() : [];
    await Promise.allSettled(ids.map((id) => this.#fetch(id))); // what came to nothing is asked for again
    this.#timer = this.#unreported().length > 0 ? setTimeout(() => this.#poll(), POLL_MS) : 0;
  }

  async #fetch(id) {
    const { nodes } = await this.#client.get(`/jobs/${id}/progress`);
    if (this.#unreported().includes(id)) this.#update(id, summarize(nodes));
  }

  #update(id, change) {
    if (id === undefined) return;
    this.#progress.set(id, { ...this.#progress.get(id), ...change });
    if (this.#progress.size > MAX_JOBS) this.#progress.delete(this.#progress.keys().next().value);
    this.#notify();
  }

  #end(id) {
    this.#progress.delete(id);
    this.#notify();
  }

  /** Samplers send many messages a second; once a frame is enough to look at. */
  #notify() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.dispatchEvent(new Event("change"));
    });
  }
}

/** All nodes at once, as newer servers tell of them. */
function summarize(nodes) {
  const all = Object.entries(nodes ?? {});
  const running = all.find(([, node]) => node.state === "running");
  const done = all.filter(([, node]) => node.state === "finished").length;
  if (running === undefined) return { done };
  const [id, { value, max, display_node_id: shown }] = running;
  return { node: shown ?? id, value, max, done };
}
