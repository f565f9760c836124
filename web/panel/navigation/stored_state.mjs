/** What this browser keeps of the navigation: whether it is shown, and what is open in it. */

/** @import { PanelContext } from "../types.d.ts" */

const MEMBERS = /** @type {const} */ (["isDocked", "expanded", "closed"]);

/** `expanded` are paths of folders, `closed` names of sections. @typedef {{ isDocked: boolean, expanded: string[], closed: string[] }} State */

export class StoredState {
  #preferences;
  #name;

  /** @param {PanelContext} context */
  constructor({ page, preferences }) {
    const user = page.headers()["Comfy-User"];
    this.#preferences = preferences;
    this.#name = user ? `navigation.${user}` : "navigation"; // others at this browser do not see a user's folders
  }

  /** @returns {State} */
  read() {
    const { isDocked, expanded, closed } = this.#preferences.read(this.#name, MEMBERS);
    return { isDocked: isDocked !== false, expanded: texts(expanded), closed: texts(closed) };
  }

  /** @param {State} state */
  write(state) {
    this.#preferences.write(this.#name, state, MEMBERS);
  }
}

/**
 * @param {unknown} value
 * @returns {string[]}
 */
function texts(value) {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}
