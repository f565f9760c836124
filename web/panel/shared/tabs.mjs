/** Tabs after the ARIA pattern. A tab's content is created when it is first shown. */

/** @import { PanelContext } from "../types.d.ts" */
/** @import { LibraryTab } from "../library/library_tab.mjs" */
/** @import { JobsTab } from "../jobs/jobs_tab.mjs" */
/** @import { WorkflowsTab } from "../workflows/workflows_tab.mjs" */

import { h, uniqueId } from "./dom.mjs";

const STORED_AS = "panel";

/** @typedef {{ library: LibraryTab, jobs: JobsTab, workflows: WorkflowsTab }} TabContents */

/** @typedef {{ name: keyof TabContents, label: string, create: () => TabContents[keyof TabContents] }} TabOptions */

/** @typedef {{ button: HTMLButtonElement, panel: HTMLElement | null, content: TabContents[keyof TabContents] | null }} TabState */

export class Tabs {
  /** @type {Map<keyof TabContents, TabOptions & TabState>} */
  #tabs;
  #preferences;
  /** @type {keyof TabContents | null} */
  #current = null;

  /**
   * @param {string} label the name of the tab list for screen readers
   * @param {PanelContext["preferences"]} preferences keep the last tab
   * @param {TabOptions[]} tabs
   */
  constructor(label, preferences, tabs) {
    this.#preferences = preferences;
    this.#tabs = new Map(
      tabs.map((tab) => [tab.name, { ...tab, button: this.#createButton(tab), panel: null, content: null }]),
    );
    this.bar = h("div", { class: "ca-tabs", role: "tablist", "aria-label": label });
    this.body = h("div", { class: "ca-tab-body" });
    for (const tab of this.#tabs.values()) this.bar.append(tab.button);
    this.bar.addEventListener("keydown", (event) => this.#onKeyDown(event));
  }

  /**
   * Show a tab and return its content.
   *
   * @template {keyof TabContents} Name
   * @param {Name} name
   */
  show(name) {
    const tab = this.#get(name);
    if (tab.content === null) {
      tab.content = tab.create();
      const { id } = tab.button;
      const attributes = { class: "ca-tab-panel", role: "tabpanel", id: `${id}-panel`, "aria-labelledby": id };
      tab.panel = h("div", attributes, tab.content.element);
      this.body.append(tab.panel);
    }
    this.#current = name;
    this.#preferences.write(STORED_AS, { tab: name }, ["tab"]);
    for (const each of this.#tabs.values()) {
      const isCurrent = each === tab;
      each.button.setAttribute("aria-selected", String(isCurrent));
      each.button.tabIndex = isCurrent ? 0 : -1;
      if (each.panel) each.panel.hidden = !isCurrent;
    }
    tab.button.setAttribute("aria-controls", `${tab.button.id}-panel`);
    tab.content.shown();
    return /** @type {TabContents[Name]} */ (tab.content);
  }

  /** Show the tab that was shown last in this browser, or the first. */
  showLast() {
    const { tab } = this.#preferences.read(STORED_AS, ["tab"]);
    const [first, ...others] = this.#tabs.keys();
    this.show(others.find((name) => name === tab) ?? first);
  }

  /** Tell the current tab that the panel is in the page again. */
  shown() {
    if (this.#current !== null) this.#get(this.#current).content?.shown();
  }

  /** @param {keyof TabContents} name */
  #get(name) {
    const tab = this.#tabs.get(name);
    if (tab === undefined) throw new Error(`no tab ${name}`);
    return tab;
  }

  /** @param {TabOptions} tab */
  #createButton({ name, label }) {
    const attributes = { class: "ca-tab", type: "button", role: "tab", id: uniqueId(name), "aria-selected": "false" };
    return h("button", { ...attributes, tabindex: "-1", onclick: () => this.show(name) }, label);
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const tabs = [...this.#tabs.values()];
    const index = tabs.findIndex((tab) => tab.name === this.#current);
    const right = getComputedStyle(this.bar).direction === "rtl" ? -1 : 1;
    /** @type {Record<string, number>} */
    const targets = { ArrowLeft: index - right, ArrowRight: index + right, Home: 0, End: tabs.length - 1 };
    if (!(event.key in targets)) return;
    const tab = tabs[(targets[event.key] + tabs.length) % tabs.length];
    this.show(tab.name);
    tab.button.focus();
    event.preventDefault();
    event.stopPropagation();
  }
}
