/** The selected assets, by id: their indexes change when the list does. Dispatches "change" events. */

/** @import { Asset } from "../api.d.ts" */

export class Selection extends EventTarget {
  /** @type {Map<string, Asset>} */
  #assets = new Map();
  #anchor = 0; // index at which a range begins

  get size() {
    return this.#assets.size;
  }

  get assets() {
    return [...this.#assets.values()];
  }

  /** @param {Asset | undefined} asset */
  has(asset) {
    return asset !== undefined && this.#assets.has(asset.id);
  }

  /**
   * @param {Asset} asset
   * @param {number} index
   */
  toggle(asset, index) {
    if (!this.#assets.delete(asset.id)) this.#assets.set(asset.id, asset);
    this.#anchor = index;
    this.#notify();
  }

  /**
   * Select the assets from the last one that was toggled to an index, as far as they are loaded.
   *
   * @param {number} index
   * @param {(index: number) => Asset | undefined} at
   */
  extend(index, at) {
    const [from, to] = [Math.min(this.#anchor, index), Math.max(this.#anchor, index)];
    for (let each = from; each <= to; each += 1) {
      const asset = at(each);
      if (asset !== undefined) this.#assets.set(asset.id, asset);
    }
    this.#notify();
  }

  /** @param {Asset[]} assets */
  add(assets) {
    for (const asset of assets) this.#assets.set(asset.id, asset);
    this.#notify();
  }

  clear() {
    if (this.#assets.size === 0) return;
    this.#assets.clear();
    this.#notify();
  }

  /**
   * Apply a change to an asset, if it is selected.
   *
   * @param {Partial<Asset> & { id: string }} change
   */
  update(change) {
    const asset = this.#assets.get(change.id);
    if (asset !== undefined) this.#assets.set(asset.id, { ...asset, ...change });
  }

  /** @param {string} id */
  remove(id) {
    if (this.#assets.delete(id)) this.#notify();
  }

  #notify() {
    this.dispatchEvent(new Event("change"));
  }
}
