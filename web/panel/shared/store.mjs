/** A tiny store: an object of values, replaced as a whole, and those who want to hear of it. */

export class Store {
  #state;
  #listeners = new Set();

  constructor(initial) {
    this.#state = Object.freeze({ ...initial });
  }

  get state() {
    return this.#state;
  }

  /** Change some members; listeners hear of it if any is different. */
  set(change) {
    const before = this.#state;
    if (Object.entries(change).every(([name, value]) => Object.is(before[name], value))) return;
    this.#state = Object.freeze({ ...before, ...change });
    for (const listener of [...this.#listeners]) listener(this.#state, before);
  }

  /** Call `listener(state, before)` on every change; answers a function that ends it. */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
