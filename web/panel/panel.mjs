/** The panel: created once, then put into the page and removed from it as often as the page wants. */

/** @import { HostPage, PanelContext, Translate } from "./types.d.ts" */

import { h, setChildren } from "./shared/dom.mjs";
import { Client } from "./shared/client.mjs";
import { watchConnection } from "./shared/connection.mjs";
import { icon } from "./shared/icons.mjs";
import { Network } from "./shared/network.mjs";
import { Notifications } from "./shared/notifications.mjs";
import { errorPlaceholder, loadingPlaceholder } from "./shared/placeholders.mjs";
import { preferences } from "./shared/preferences.mjs";
import { loadStyles } from "./shared/styles.mjs";
import { Tabs } from "./shared/tabs.mjs";
import { loadTranslations, Translations } from "./shared/translations.mjs";
import { NetworkWarning } from "./status/network_warning.mjs";
import { StatusBar } from "./status/status_bar.mjs";
import { JobsTab } from "./jobs/jobs_tab.mjs";
import { AccountOpener } from "./login/account_opener.mjs";
import { SIGNED_IN_AGAIN } from "./login/session_watch.mjs";
import { LibraryTab } from "./library/library_tab.mjs";
import { WorkflowsTab } from "./workflows/workflows_tab.mjs";

/** @param {HostPage} page */
export function createPanel(page) {
  return new Panel(page);
}

class Panel {
  #page;
  #styles;
  /** @type {Promise<void> | null} */
  #ready = null;
  /** @type {Tabs | null} */
  #tabs = null;
  /** @type {StatusBar | null} */
  #status = null;
  /** @type {AccountOpener | null} */
  #account = null;

  /** @param {HostPage} page */
  constructor(page) {
    this.#page = page;
    this.root = h("div", { class: "ca-root" });
    // Delete in the panel must not remove the nodes that are selected on the canvas. Chords stay with the page.
    this.root.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
    });
    this.#styles = loadStyles();
  }

  /**
   * Put the panel into an element, which may hold it already.
   *
   * @param {HTMLElement} container
   */
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

  /** Show the library tab with the focus in its search box. */
  async find() {
    await this.#ready;
    this.#tabs?.show("library").find();
  }

  /** Show the dialog of the account, also if the panel itself has never been opened. */
  async showAccount() {
    this.#ready ??= this.#load();
    await this.#ready;
    await this.#account?.open();
  }

  async #load() {
    const client = new Client(this.#page);
    setChildren(this.root, loadingPlaceholder(new Translations().t));
    // Not `hidden`, which the styles of the root override.
    this.root.style.visibility = "hidden";
    const texts = loadTranslations(this.#page);
    await this.#styles;
    this.root.style.visibility = "";
    const translations = await texts;
    try {
      this.#build(client, translations);
    } catch (error) {
      console.error("comfy-assets:", error);
      setChildren(this.root, errorPlaceholder(translations.t, error, () => (this.#ready = this.#load())));
    }
  }

  /**
   * A link to the panel's own page, which has the width of the window.
   *
   * @param {Translate} t
   */
  #ownPageLink(t) {
    const href = this.#page.ownPage();
    if (href === null) return null;
    const label = t("panel.ownPage");
    return h(
      "a",
      { class: "ca-icon-button", href, target: "_blank", "aria-label": label, title: label },
      icon("expand"),
    );
  }

  /**
   * @param {Client} client
   * @param {Translations} translations
   */
  #build(client, { t, language, direction }) {
    /** @type {PanelContext} */
    const context = {
      page: this.#page,
      client,
      t,
      language,
      notifications: new Notifications(t),
      preferences,
      network: new Network(client),
      openAsset: (id, back) => tabs.show("library").openById(id, back),
      openJob: (id) => tabs.show("jobs").openById(id),
      openWorkflow: (id) => tabs.show("workflows").openById(id),
      searchLibrary: (text) => tabs.show("library").search(text),
    };
    const tabs = new Tabs(t("panel.title"), preferences, [
      { name: "library", label: t("tab.library"), create: () => new LibraryTab(context) },
      { name: "jobs", label: t("tab.jobs"), create: () => new JobsTab(context) },
      { name: "workflows", label: t("tab.workflows"), create: () => new WorkflowsTab(context) },
    ]);
    const status = new StatusBar(context);
    const warning = new NetworkWarning(context);
    const account = new AccountOpener(context);
    const corner = h("div", { class: "ca-header-corner" }, account.element, this.#ownPageLink(t));
    const header = h("div", { class: "ca-header" }, tabs.bar, corner);
    this.#tabs = tabs;
    this.#status = status;
    this.#account = account;
    watchConnection(this.#page);
    document.addEventListener(SIGNED_IN_AGAIN, () => this.#refresh());
    this.root.lang = language;
    this.root.dir = direction;
    setChildren(this.root, header, warning.element, tabs.body, context.notifications.element, status.element);
    tabs.showLast();
    status.refresh();
    warning.refresh();
    account.refresh();
  }

  /** Load again what was refused while nobody was signed in. */
  #refresh() {
    this.#tabs?.shown();
    this.#status?.refresh();
    this.#account?.refresh();
  }
}
