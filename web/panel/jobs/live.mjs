/** How far running jobs are, from the messages that the server sends to the page that queued them. */

export class Live extends EventTarget {
  #progress = new Map(); // job id -> { node, value, max, done }
  #frame = 0;

  constructor(page) {
    super();
    page.listen("execution_start", ({ prompt_id }) => this.#put(prompt_id, { node: null, value: 0, max: 0, done: 0 }));
    page.listen("progress_state", ({ prompt_id, nodes }) => this.#put(prompt_id, summed(nodes)));
    page.listen("progress", ({ prompt_id, node, value, max }) => this.#put(prompt_id, { node, value, max }));
    for (const end of ["execution_success", "execution_error", "execution_interrupted"]) {
      page.listen(end, ({ prompt_id }) => this.#end(prompt_id));
    }
  }

  /** `{ node, value, max, done }`: the node at work, how far it is, and how many nodes are done; or undefined. */
  of(id) {
    return this.#progress.get(id);
  }

  #put(id, change) {
    if (id === undefined) return;
    this.#progress.set(id, { ...this.#progress.get(id), ...change });
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

/** Newer servers tell of all nodes at once. */
function summed(nodes) {
  const all = Object.entries(nodes ?? {});
  const running = all.find(([, node]) => node.state === "running");
  const done = all.filter(([, node]) => node.state === "finished").length;
  if (running === undefined) return { done };
  const [id, { value, max, display_node_id: shown }] = running;
  return { node: shown ?? id, value, max, done };
}
