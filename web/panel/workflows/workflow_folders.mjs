/** The folders of workflows: the path to the one that is shown, and those in it. */

/** @import { Workflow, WorkflowFolder } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { button } from "../shared/buttons.mjs";
import { h, setChildren } from "../shared/dom.mjs";

/**
 * Return the folder of a workflow's file; "" for the uppermost, and without a file.
 *
 * @param {Workflow} workflow
 */
export function folderOf({ path = "" }) {
  return path.split("/").slice(1, -1).join("/"); // the first part is that of all workflows
}

/** @param {string} path */
function nameOf(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

export class WorkflowFolders {
  #context;
  #onOpen;

  /**
   * @param {PanelContext} context
   * @param {(folder: string) => void} onOpen
   */
  constructor(context, onOpen) {
    this.#context = context;
    this.#onOpen = onOpen;
    const label = context.t("workflow.folders");
    this.element = h("nav", { class: "ca-folders", "aria-label": label, hidden: true });
  }

  /**
   * Show where the list is, and which folders there are. Hidden while there is none.
   *
   * @param {string} folder
   * @param {WorkflowFolder[]} inside
   */
  show(folder, inside) {
    this.element.hidden = folder === "" && inside.length === 0;
    setChildren(this.element, ...this.#path(folder), ...inside.map((each) => this.#button(each)));
  }

  /** @param {string} folder */
  #path(folder) {
    if (folder === "") return [];
    const parts = folder.split("/");
    const above = parts.slice(0, -1).map((name, index) => ({ name, path: parts.slice(0, index + 1).join("/") }));
    const all = { name: this.#context.t("workflow.allFolders"), path: "" };
    return [
      ...[all, ...above].flatMap(({ name, path }) => [this.#link(name, path), "/"]),
      h("strong", { "aria-current": "location" }, nameOf(folder)),
    ];
  }

  /**
   * @param {string} name
   * @param {string} path
   */
  #link(name, path) {
    return h("button", { class: "ca-link", type: "button", onclick: () => this.#onOpen(path) }, name);
  }

  /** @param {WorkflowFolder} folder */
  #button({ path, count }) {
    return button("folder", `${nameOf(path)} (${count})`, () => this.#onOpen(path));
  }
}
