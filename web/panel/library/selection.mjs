/** Which assets are selected: by id, as their places in the list change. */

export class Selection extends EventTarget {
  #assets = new Map();
  anchor = 0; // where a range begins

  get size() {
    return this.#assets.size;
  }

  get assets() {
    return [...this.#assets.values()];
  }

  has(asset) {
    return asset !== undefined && this.#assets.has(asset.id);
  }

  toggle(asset, index) {
    if (!this.#assets.delete(asset.id)) this.#assets.set(asset.id, asset);
    this.anchor = index;
    this.#notify();
  }

  /** Add what lies between the anchor and a place; `at` answers the asset at a place, if it is here. */
  extend(index, at) {
    const [from, to] = [Math.min(this.anchor, index), Math.max(this.anchor, index)];
    for (let each = from; each <= to; each += 1) {
      const asset = at(each);
      if (asset !== undefined) this.#assets.set(asset.id, asset);
    }
    this.#notify();
  }

  /** Select all of these as well. */
  add(assets) {
    for (const asset of assets) this.#assets.set(asset.id, asset);
    this.#notify();
  }

  clear() {
    if (this.#assets.size === 0) return;
    this.#assets.clear();
    this.#notify();
  }

  remove(id) {
    if (this.#assets.delete(id)) this.#notify();
  }

  #notify() {
    this.dispatchEvent(new Event("change"));
  }
}
