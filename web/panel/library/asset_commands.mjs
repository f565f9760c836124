/** The commands for assets, which the details, the menus and the viewer offer under the same names. */

/** @import { Asset, DeletionAction } from "../api.d.ts" */
/** @import { MenuItem } from "../shared/context_menu.mjs" */
/** @import { PanelContext, ScreenPoint } from "../types.d.ts" */
/** @import { AssetActions } from "./asset_actions.mjs" */
/** @import { SelectedAssets } from "./search_results.mjs" */

import { copyText } from "../shared/clipboard.mjs";
import { showMenu } from "../shared/context_menu.mjs";
import { hasGraph, isLoadedByNode, isMissing, mediaKind, modelCategories } from "./asset.mjs";
import { DELETION_ICONS, DELETIONS } from "./deletion.mjs";
import { startDrag } from "./drag.mjs";
import { isLora, triggerText } from "./loader_nodes.mjs";
import { NodeActions } from "./node_actions.mjs";
import { areFavourites } from "./search_results.mjs";
import { StackMembers, stackSize } from "./stacks.mjs";

/**
 * `details` opens a stack, or the details of an asset. `organizing` returns the commands that arrange assets, such as in
 * collections.
 * @typedef {{
 *   details: (asset: Asset, index: number) => unknown,
 *   view: (asset: Asset, index: number) => unknown,
 *   remove: (selected: SelectedAssets, action: DeletionAction) => unknown,
 *   organizing: (selected: SelectedAssets, at: ScreenPoint) => MenuItem[],
 * }} CommandCallbacks
 */

export class AssetCommands {
  #context;
  #actions;
  #callbacks;
  #nodes;

  /**
   * @param {PanelContext} context
   * @param {AssetActions} actions
   * @param {CommandCallbacks} callbacks
   */
  constructor(context, actions, callbacks) {
    this.#context = context;
    this.#actions = actions;
    this.#callbacks = callbacks;
    this.#nodes = new NodeActions(context);
  }

  /**
   * Show the menu of an asset, or of several that are selected.
   *
   * @param {SelectedAssets} selected
   * @param {ScreenPoint} at
   * @param {number} [index] of a single asset in the list; without it, the menu does not offer to open the asset
   */
  showMenu(selected, at, index) {
    const { t } = this.#context;
    const organizing = this.#callbacks.organizing(selected, at);
    if (selected instanceof StackMembers) {
      const label = `${selected.top.name}, ${t("stack.size", { count: selected.count })}`;
      const viewing = this.#viewing(selected.top, index ?? -1);
      return showMenu(label, [viewing, ...this.#groupsOfMany(selected, organizing)], at);
    }
    if (!Array.isArray(selected) || selected.length > 1) {
      return showMenu(t("selection.title"), this.#groupsOfMany(selected, organizing), at);
    }
    const [asset] = selected;
    const viewing = index === undefined ? [] : this.#viewing(asset, index);
    showMenu(asset.name, [viewing, ...this.#groups(asset, organizing)], at);
  }

  /**
   * Return the commands that an asset is opened for: the first of them is the usual one.
   *
   * @param {Asset} asset
   * @returns {MenuItem[]}
   */
  main(asset) {
    return [...this.#opening(asset), this.#download(asset), ...this.#deleting([asset])];
  }

  /**
   * Begin to drag an asset. On the canvas, the page ignores models, and uploads media without a graph once more.
   *
   * @param {DragEvent} event
   * @param {Asset} asset
   */
  drag(event, asset) {
    startDrag(event, this.#context.page, asset);
    if (modelCategories(asset).length > 0) this.#nodes.acceptDrop(asset, { onNodes: true });
    else if (isLoadedByNode(asset)) this.#nodes.acceptDrop(asset, { onNodes: false });
  }

  /** @param {Asset} asset */
  copyTriggerWords(asset) {
    return copyText(this.#context, triggerText(asset), this.#context.t("asset.triggerWordsCopied"));
  }

  /**
   * @param {Asset} asset
   * @param {MenuItem[]} organizing
   * @returns {MenuItem[][]}
   */
  #groups(asset, organizing) {
    return [
      [...this.#opening(asset), ...this.#sending(asset)],
      this.#copying(asset),
      [this.#download(asset), ...this.#exporting(asset)],
      organizing,
      [...this.#showing(asset), this.#favourite([asset])],
      this.#deleting([asset]),
    ];
  }

  /**
   * @param {Asset} asset
   * @param {number} index
   * @returns {MenuItem[]}
   */
  #viewing(asset, index) {
    const { t } = this.#context;
    const isStack = stackSize(asset) > 1;
    return [
      {
        icon: isStack ? "stack" : mediaKind(asset),
        label: t(isStack ? "stack.open" : "asset.details"),
        run: () => this.#callbacks.details(asset, index),
      },
      { icon: "expand", label: t("viewer.open"), run: () => this.#callbacks.view(asset, index) },
    ];
  }

  /**
   * @param {SelectedAssets} selected
   * @param {MenuItem[]} organizing
   * @returns {MenuItem[][]}
   */
  #groupsOfMany(selected, organizing) {
    const { t, page } = this.#context;
    /** @type {MenuItem[]} */
    const inserting = [];
    if (page.canvas !== null && Array.isArray(selected)) {
      inserting.push({ icon: "node", label: t("asset.insertNodes"), run: () => this.#nodes.insert(selected) });
    }
    return [inserting, organizing, [this.#favourite(selected)], this.#deleting(selected)];
  }

  /**
   * @param {Asset} asset
   * @returns {MenuItem[]}
   */
  #opening(asset) {
    const { t } = this.#context;
    /** @type {MenuItem[]} */
    const items = [];
    if (hasGraph(asset)) {
      items.push({ icon: "graph", label: t("asset.openWorkflow"), run: () => this.#actions.openWorkflow(asset) });
    }
    if (this.#nodes.loaderTypes(asset).length === 0) return items;
    if (isLora(asset)) items.push({ icon: "model", label: t("asset.useLora"), run: () => this.#nodes.useLora(asset) });
    return [...items, { icon: "node", label: t("asset.insertNode"), run: () => this.#nodes.insert([asset]) }];
  }

  /**
   * @param {Asset} asset
   * @returns {MenuItem[]}
   */
  #sending(asset) {
    const [node] = this.#nodes.loaderTypes(asset);
    if (node === undefined) return [];
    return [{ icon: "forward", label: this.#context.t("asset.sendTo", { node }), run: () => this.#nodes.send(asset) }];
  }

  /**
   * @param {Asset} asset
   * @returns {MenuItem[]}
   */
  #copying(asset) {
    const { t } = this.#context;
    /** @type {MenuItem[]} */
    const items = [];
    if (triggerText(asset) !== "") {
      items.push({ icon: "copy", label: t("asset.copyTriggerWords"), run: () => this.copyTriggerWords(asset) });
    }
    if (asset.metadata?.embedded || asset.job_id || asset.generation) {
      items.push({ icon: "copy", label: t("asset.copyPrompt"), run: () => this.#copyPrompt(asset) });
    }
    const path = asset.file_path;
    if (path !== undefined) {
      const run = () => copyText(this.#context, path, t("asset.pathCopied"));
      items.push({ icon: "copy", label: t("asset.copyPath"), run });
    }
    return [...items, ...this.openFolder(asset)];
  }

  /**
   * Return the command that shows the file on the desktop; none unless this browser runs on the server's machine.
   *
   * @param {Asset} asset
   * @returns {MenuItem[]}
   */
  openFolder(asset) {
    if (!this.#context.network.place?.can_open_folders || asset.file_path === undefined || isMissing(asset)) return [];
    return [{ icon: "folder", label: this.#context.t("asset.openFolder"), run: () => this.#showInFolder(asset) }];
  }

  /** @param {Asset} asset */
  async #showInFolder(asset) {
    const { t, client, notifications } = this.#context;
    try {
      await client.post(`/assets/${asset.id}/show-in-folder`);
    } catch (error) {
      notifications.error(t("asset.openFolderFailed"), error);
    }
  }

  /** @param {Asset} asset */
  async #copyPrompt(asset) {
    const { t, client, notifications } = this.#context;
    try {
      const { generation } = asset.generation ? asset : await client.get(`/assets/${asset.id}`);
      if (generation?.positive) await copyText(this.#context, generation.positive, t("generation.promptCopied"));
      else notifications.show(t("asset.noPrompt", { name: asset.name }));
    } catch (error) {
      notifications.error(t("asset.openFailed"), error);
    }
  }

  /**
   * @param {Asset} asset
   * @returns {MenuItem}
   */
  #download(asset) {
    return { icon: "download", label: this.#context.t("asset.download"), run: () => this.#actions.download(asset) };
  }

  /**
   * @param {Asset} asset
   * @returns {MenuItem[]}
   */
  #exporting(asset) {
    if (!hasGraph(asset)) return [];
    const run = () => this.#actions.exportWorkflow(asset);
    return [{ icon: "share", label: this.#context.t("asset.exportWorkflow"), run }];
  }

  /**
   * @param {Asset} asset
   * @returns {MenuItem[]}
   */
  #showing({ job_id: job }) {
    const { t, openJob } = this.#context;
    return job ? [{ icon: "history", label: t("property.showJob"), run: () => openJob(job) }] : [];
  }

  /**
   * @param {SelectedAssets} selected
   * @returns {MenuItem}
   */
  #favourite(selected) {
    const { t } = this.#context;
    const isOn = !areFavourites(selected);
    const label = t(isOn ? "selection.addFavourites" : "selection.removeFavourites");
    return { icon: "heart", label, run: () => this.#setFavourites(selected, isOn) };
  }

  /**
   * @param {SelectedAssets} selected
   * @param {boolean} isOn
   */
  async #setFavourites(selected, isOn) {
    const { t, notifications } = this.#context;
    try {
      const change = await this.#actions.favour(selected, isOn);
      if (change === null) return;
      const undo = { label: t("asset.undo"), action: () => this.#actions.undo(change) };
      const key = isOn ? "selection.addedFavourites" : "selection.removedFavourites";
      notifications.show(t(key, { count: 1, number: "1" }), undo);
    } catch (error) {
      notifications.error(t("asset.changeFailed"), error);
    }
  }

  /**
   * @param {SelectedAssets} selected
   * @returns {MenuItem[]}
   */
  #deleting(selected) {
    const { t } = this.#context;
    return DELETIONS.map((action) => ({
      icon: DELETION_ICONS[action],
      label: t(`deletion.${action}`),
      run: () => this.#callbacks.remove(selected, action),
      isDanger: true,
    }));
  }
}
