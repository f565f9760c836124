/** What a user can do with assets on the page's canvas. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext, ScreenPoint } from "../types.d.ts" */

import { copyText } from "../shared/clipboard.mjs";
import { loaderNodes, triggerText } from "./loader_nodes.mjs";

const SHIFT_PX = 40; // between nodes that are added at once

export class NodeActions {
  #context;

  /** @param {PanelContext} context */
  constructor(context) {
    this.#context = context;
  }

  /**
   * Return the types of nodes that load an asset, the best first; none on a page without a canvas.
   *
   * @param {Asset} asset
   */
  loaderTypes(asset) {
    return this.#loaders(asset).map(({ type }) => type);
  }

  /**
   * Add a node for each asset that a node can load.
   *
   * @param {Asset[]} assets
   * @param {ScreenPoint} [at]
   */
  insert(assets, at) {
    const { t, notifications, page } = this.#context;
    /** @type {string[]} */
    const added = [];
    for (const asset of assets) {
      const [loader] = this.#loaders(asset);
      const place = { at, shift: added.length * SHIFT_PX };
      if (loader && page.canvas?.add(loader.type, loader.values, place)) added.push(loader.type);
    }
    if (added.length > 0) notifications.show(t("node.added", { count: added.length, node: added[0] }));
    else notifications.show(t("node.none", { name: assets[0].name }));
  }

  /**
   * Set the loader node that is selected, or the only one; without one, add one.
   *
   * @param {Asset} asset
   */
  send(asset) {
    const { t, notifications, page } = this.#context;
    const loaders = this.#loaders(asset);
    const values = Object.fromEntries(loaders.map((loader) => [loader.type, loader.values]).reverse());
    const type = page.canvas?.set(Object.keys(values), values);
    if (type) notifications.show(t("node.set", { node: type, name: asset.name }));
    else this.insert([asset]);
  }

  /**
   * Add a LoRA behind the model that it changes, and copy its trigger words.
   *
   * @param {Asset} asset
   */
  async useLora(asset) {
    const { t, notifications, page } = this.#context;
    const loader = this.#loaders(asset)[0];
    const added = loader && page.canvas?.addToChain(loader.type, loader.values);
    if (!added) {
      notifications.show(t("node.none", { name: asset.name }));
      return;
    }
    const node = loader.type;
    const text = added.isConnected ? t("node.connected", { node }) : t("node.added", { count: 1, node });
    const words = triggerText(asset);
    if (words === "") notifications.show(text);
    else await copyText(this.#context, words, `${text} ${t("node.wordsCopied", { words })}`);
  }

  /**
   * Let an asset that is being dragged be dropped on the canvas: on a node that takes it, or beside nodes for a new one.
   *
   * @param {Asset} asset
   * @param {{ onNodes: boolean }} options false if the page handles drops on nodes
   */
  acceptDrop(asset, options) {
    this.#context.page.canvas?.acceptDrop(options, (at, type, set) => {
      const loader = this.#loaders(asset).find((each) => each.type === type);
      if (loader === undefined) this.insert([asset], at);
      else {
        set(loader.values);
        this.#context.notifications.show(this.#context.t("node.set", { node: loader.type, name: asset.name }));
      }
    });
  }

  /** @param {Asset} asset */
  #loaders(asset) {
    const { canvas } = this.#context.page;
    return canvas === null ? [] : loaderNodes(asset, canvas.nodeInputs());
  }
}
