/** The panel as a whole: made once, put into the page and taken out of it as often as the page likes. */

import { h, setChildren } from "./shared/dom.mjs";
import { Client } from "./shared/client.mjs";
import { preferences } from "./shared/preferences.mjs";
import { Notifications } from "./shared/notifications.mjs";
import { errorPlaceholder, loadingPlaceholder } from "./shared/placeholders.mjs";
import { Translations } from "./shared/translations.mjs";
import { Tabs } from "./shared/tabs.mjs";
import { NetworkWarning } from "./status/network_warning.mjs";
import { StatusBar } from "./status/status_bar.mjs";
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
  mount(container) {
    container.replaceChildren(this.root);
    container.classList.add("ca-host");
    this.#ready ??= this.#load();
    this.#tabs?.shown();
    this.#status?.refresh();
  }

  unmount() {
    this.root.remove();
  }

  /** Look for an asset. */
  async find() {
    await this.#ready;
    this.#tabs?.show("library").find();
  }

  async #load() {
    const client = new Client(this.#page);
    const translations = new Translations();
    setChildren(this.root, loadingPlaceholder(translations.t));
    await translations.load(this.#page, client).catch((error) => console.warn("comfy-assets: no translations.", error));
    try {
      this.#build(client, translations);
    } catch (error) {
      console.error("comfy-assets:", error);
      setChildren(this.root, errorPlaceholder(translations.t, error, () => (this.#ready = this.#load())));
    }
  }

  #build(client, translations) {
    const { t, language } = translations;
    const notifications = new Notifications(t);
    const context = { page: this.#page, client, t, language, notifications, preferences };
    const tabs = (this.#tabs = new Tabs(t("panel.title"), [
      { name: "library", label: t("tab.library"), make: () => new LibraryTab(context) },
      { name: "jobs", label: t("tab.jobs"), make: () => new JobsTab(context) },
      { name: "workflows", label: t("tab.workflows"), make: () => new WorkflowsTab(context) },
    ]));
    context.openAsset = (id) => tabs.show("library").openById(id);
    context.openJob = (id) => tabs.show("jobs").openById(id);
    this.root.lang = language;
    const status = (this.#status = new StatusBar(context));
    const warning = new NetworkWarning(context);
    const head = h("div", { class: "ca-header" }, tabs.bar);
    setChildren(this.root, head, warning.element, tabs.body, status.element, notifications.element);
    tabs.show("library");
    status.refresh();
    warning.refresh();
  }
}

function addStyles() {
  const href = new URL("./panel.css", import.meta.url).href;
  if (document.querySelector(`link[href="${href}"]`)) return;
  document.head.append(h("link", { rel: "stylesheet", href }));
}
