/** Tabs, as screen readers and keyboards know them. A tab's content is made when it is first shown. */

import { h, uniqueId } from "./dom.mjs";

export class Tabs {
  #tabs;
  #current = null;

  /** `tabs` are `{ name, label, make() }`; `make` answers an object with an `element`, and `shown()` if it likes. */
  constructor(label, tabs) {
    this.#tabs = new Map(tabs.map((tab) => [tab.name, { ...tab, id: uniqueId(tab.name) }]));
    this.bar = h("div", { class: "ca-tabs", role: "tablist", "aria-label": label });
    this.body = h("div", { class: "ca-tab-body" });
    for (const tab of this.#tabs.values()) this.bar.append(this.#button(tab));
    this.bar.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show a tab; answers its content. */
  show(name) {
    const tab = this.#tabs.get(name);
    if (tab.content === undefined) {
      tab.content = tab.make();
      tab.panel = h("div", {
        class: "ca-tab-panel",
        role: "tabpanel",
        id: `${tab.id}-panel`,
        "aria-labelledby": tab.id,
      }, tab.content.element);
      this.body.append(tab.panel);
    }
    this.#current = name;
    for (const each of this.#tabs.values()) {
      const isCurrent = each === tab;
      each.button.setAttribute("aria-selected", String(isCurrent));
      each.button.tabIndex = isCurrent ? 0 : -1;
      if (each.panel) each.panel.hidden = !isCurrent;
    }
    tab.button.setAttribute("aria-controls", `${tab.id}-panel`);
    tab.content.shown?.();
    return tab.content;
  }

  /** The tab in view has been put into the page again. */
  shown() {
    this.#tabs.get(this.#current)?.content.shown?.();
  }

  #button(tab) {
    tab.button = h(
      "button",
      {
        class: "ca-tab",
        type: "button",
        role: "tab",
        id: tab.id,
        "aria-selected": "false",
        tabindex: "-1",
        onclick: () => this.show(tab.name),
      },
      tab.label,
    );
    return tab.button;
  }

  #key(event) {
    const names = [...this.#tabs.keys()];
    const index = names.indexOf(this.#current);
    const moves = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: names.length - 1 };
    if (!(event.key in moves)) return;
    const name = names[(moves[event.key] + names.length) % names.length];
    this.show(name);
    this.#tabs.get(name).button.focus();
    event.preventDefault();
    event.stopPropagation();
  }
}
