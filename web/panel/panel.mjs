/** The panel as a whole: made once, put into the page and taken out of it as often as the page likes. */

import { fill, h } from "./shared/dom.mjs";
import { Client } from "./shared/client.mjs";
import { memory } from "./shared/preferences.mjs";
import { Notices } from "./shared/notifications.mjs";
import { failure, loading } from "./shared/placeholders.mjs";
import { Strings } from "./shared/translations.mjs";
import { Tabs } from "./shared/tabs.mjs";
import { NetworkWarning } from "./status/network_warning.mjs";
import { StatusLine } from "./status/status_bar.mjs";
import { JobsTab } from "./jobs/jobs_tab.mjs";
import { LibraryTab } from "./library/library_tab.mjs";
import { WorkflowsTab } from "./workflows/workflows_tab.mjs";

/** @param page the page around the panel; see comfy_page.mjs. */
export function createPanel(page) {
  return new Panel(page);
}

class Panel {
  #page;
  #ready = null;
  #tabs = null;
  #status = null;

  constructor(page) {
    this.#page = page;
    this.root = h("div", { class: "ca-root" });
    // Keys typed into the panel are not for the page, whose Delete removes nodes. Chords are everybody's.
    this.root.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
    });
    addStyles();
  }

  /** Show the panel in a place of the page, which may be the one it is in already. */
  mount(place) {
    place.replaceChildren(this.root);
    place.classList.add("ca-place");
    this.#ready ??= this.#begin();
    this.#tabs?.shown();
    this.#status?.ask();
  }

  unmount() {
    this.root.remove();
  }

  /** Look for an asset. */
  async find() {
    await this.#ready;
    this.#tabs?.show("library").find();
  }

  async #begin() {
    const client = new Client(this.#page);
    const strings = new Strings();
    fill(this.root, loading(strings.t));
    await strings.load(this.#page, client).catch((error) => console.warn("comfy-assets: no translations.", error));
    try {
      this.#compose(client, strings);
    } catch (error) {
      console.error("comfy-assets:", error);
      fill(this.root, failure(strings.t, error, () => (this.#ready = this.#begin())));
    }
  }

  #compose(client, strings) {
    const { t, language } = strings;
    const notices = new Notices(t);
    const context = { page: this.#page, client, t, language, notices, memory };
    const tabs = (this.#tabs = new Tabs(t("panel.title"), [
      { name: "library", label: t("tab.library"), make: () => new LibraryTab(context) },
      { name: "jobs", label: t("tab.jobs"), make: () => new JobsTab(context) },
      { name: "workflows", label: t("tab.workflows"), make: () => new WorkflowsTab(context) },
    ]));
    context.openAsset = (id) => tabs.show("library").openById(id);
    context.openJob = (id) => tabs.show("jobs").openById(id);
    this.root.lang = language;
    const status = (this.#status = new StatusLine(context));
    const warning = new NetworkWarning(context);
    const head = h("div", { class: "ca-head" }, tabs.bar);
    fill(this.root, head, warning.element, tabs.body, status.element, notices.element);
    tabs.show("library");
    status.ask();
    warning.ask();
  }
}

function addStyles() {
  const href = new URL("./panel.css", import.meta.url).href;
  if (document.querySelector(`link[href="${href}"]`)) return;
  document.head.append(h("link", { rel: "stylesheet", href }));
}
