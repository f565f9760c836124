/**
 * How far running jobs are. Servers send messages of that to the page that queued a job; for jobs of other pages and
 * programs the server is asked, as long as somebody looks.
 */

const ASK_MS = 500;
const MOST = 100; // jobs that are kept in mind: of some the end is never told

export class Live extends EventTarget {
  #client;
  #isSeen;
  #progress = new Map(); // job id -> { node, value, max, done, isTold }, the last by messages
  #running = []; // ids of the jobs that are executed
  #timer = 0;
  #frame = 0;

  /** `isSeen()` answers whether anybody looks. */
  constructor({ page, client }, isSeen) {
    super();
    this.#client = client;
    this.#isSeen = isSeen;
    const hear = (id, change) => this.#put(id, { ...change, isTold: true });
    page.listen("execution_start", ({ prompt_id }) => hear(prompt_id, { node: null, value: 0, max: 0, done: 0 }));
    page.listen("progress_state", ({ prompt_id, nodes }) => hear(prompt_id, summed(nodes)));
    page.listen("progress", ({ prompt_id, node, value, max }) => hear(prompt_id, { node, value, max }));
    for (const end of ["execution_success", "execution_error", "execution_interrupted"]) {
      page.listen(end, ({ prompt_id }) => this.#end(prompt_id));
    }
  }

  /** `{ node, value, max, done }`: the node at work, how far it is, and how many nodes are done; or undefined. */
  of(id) {
    return this.#progress.get(id);
  }

  /** Say which of the jobs in view are executed now. */
  follow(ids) {
    for (const id of this.#running) if (!ids.includes(id)) this.#progress.delete(id);
    this.#running = ids;
    if (this.#unheard().length > 0) this.#timer ||= setTimeout(() => this.#ask());
  }

  #unheard() {
    return this.#running.filter((id) => !this.of(id)?.isTold);
  }

  async #ask() {
    const ids = this.#isSeen() ? this.#unheard() : [];
    await Promise.allSettled(ids.map((id) => this.#askFor(id))); // what came to nothing is asked for again
    this.#timer = this.#unheard().length > 0 ? setTimeout(() => this.#ask(), ASK_MS) : 0;
  }

  async #askFor(id) {
    const { nodes } = await this.#client.get(`/jobs/${id}/progress`);
    if (this.#unheard().includes(id)) this.#put(id, summed(nodes));
  }

  #put(id, change) {
    if (id === undefined) return;
    this.#progress.set(id, { ...this.#progress.get(id), ...change });
    if (this.#progress.size > MOST) this.#progress.delete(this.#progress.keys().next().value);
    this.#tell();
  }

  #end(id) {
    this.#progress.delete(id);
    this.#tell();
  }

  /** Samplers send many messages a second; once a frame is enough to look at. */
  #tell() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.dispatchEvent(new Event("change"));
    });
  }
}

/** All nodes at once, as newer servers tell of them. */
function summed(nodes) {
  const all = Object.entries(nodes ?? {});
  const running = all.find(([, node]) => node.state === "running");
  const done = all.filter(([, node]) => node.state === "finished").length;
  if (running === undefined) return { done };
  const [id, { value, max, display_node_id: shown }] = running;
  return { node: shown ?? id, value, max, done };
}
