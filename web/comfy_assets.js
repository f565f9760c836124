/** The entry point in ComfyUI's page. Registers the panel, which is loaded when it is first opened. */

/** @import { createPanel } from "./panel/panel.mjs" */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { comfyPage } from "./panel/comfy_page.mjs";
import { exchangeDrafts } from "./panel/login/own_drafts.mjs";
import { SessionWatch } from "./panel/login/session_watch.mjs";
import { settings } from "./panel/settings.mjs";
import { loadTranslations } from "./panel/shared/translations.mjs";
import { showScanToasts } from "./panel/status/scan_toast.mjs";

const TAB = "comfy-assets";
const OPEN = "ComfyAssets.Open";
const FIND = "ComfyAssets.Find";
const ACCOUNT = "ComfyAssets.Account";

const page = comfyPage(app, api);
// The page reads its drafts once all extensions are loaded, so this one waits: nobody may see those of another user.
if (await exchangeDrafts(page.fetch)) {
  location.reload();
  await new Promise(() => {});
}
/** @type {ReturnType<typeof createPanel> | null} */
let panel = null;

/**
 * Return a function that logs errors instead of throwing them: a defect of the panel must not stop the page.
 *
 * @param {() => unknown} action
 */
function logErrors(action) {
  return async () => {
    try {
      await action();
    } catch (error) {
      console.error("comfy-assets:", error);
    }
  };
}

async function load() {
  const { createPanel } = await import("./panel/panel.mjs");
  panel ??= createPanel(page);
  return panel;
}

/**
 * Show that the panel's own files could not be loaded. Without them there are no translations.
 *
 * @param {HTMLElement} container
 * @param {unknown} error
 */
function showFailure(container, error) {
  console.error("comfy-assets:", error);
  const retry = document.createElement("button");
  retry.textContent = "Try again";
  retry.addEventListener("click", () => render(container));
  container.replaceChildren("The comfy-assets panel could not be loaded. ", retry);
}

/** @param {HTMLElement} container */
async function render(container) {
  try {
    (await load()).mount(container);
  } catch (error) {
    showFailure(container, error);
  }
}

// The page logs an error for message types that have no listener. The panel adds its own only once it is open, and the
// first messages come before extensions are set up.
const OWN = /** @type {const} */ ([
  "assets.changed",
  "assets.seed.fast_complete",
  "collections.changed",
  "saved_searches.changed",
  "workflows.changed",
]);
for (const type of OWN) page.listen(type, () => {});
showScanToasts(page);
new SessionWatch(page).start();

const open = logErrors(() => {
  const tabs = app.extensionManager.sidebarTab;
  if (tabs.activeSidebarTabId !== TAB) tabs.toggleSidebarTab(TAB);
});

const showAccount = logErrors(async () => {
  await open();
  (await load()).showAccount();
});

/** Create the button in the settings; the page has no type of setting for it. */
function accountButton() {
  const button = document.createElement("button");
  button.type = "button";
  // The panel's stylesheets need not be loaded; the colours are the page's.
  button.style.cssText = "padding: 6px 12px; border: 1px solid var(--border-color); border-radius: 8px;" +
    " background: var(--comfy-input-bg); color: var(--input-text); cursor: pointer;";
  button.addEventListener("click", showAccount);
  loadTranslations(page).then(({ t }) => (button.textContent = t("account.open")));
  return button;
}

app.registerExtension({
  name: "comfy-assets",
  commands: [
    {
      id: OPEN,
      label: "Toggle asset library",
      icon: "pi pi-images",
      function: logErrors(() => app.extensionManager.sidebarTab.toggleSidebarTab(TAB)),
    },
    {
      id: FIND,
      label: "Search asset library",
      icon: "pi pi-search",
      function: logErrors(async () => {
        await open();
        (await load()).find();
      }),
    },
    { id: ACCOUNT, label: "Account and sign-in", icon: "pi pi-user", function: showAccount },
  ],
  keybindings: [
    { commandId: OPEN, combo: { key: "l", alt: true } },
    { commandId: FIND, combo: { key: "k", alt: true } },
  ],
  menuCommands: [{ path: ["Extensions", "Asset library"], commands: [OPEN, FIND, ACCOUNT] }],
  settings: settings(accountButton),
  setup: logErrors(() => {
    app.extensionManager.registerSidebarTab({
      id: TAB,
      icon: "pi pi-images",
      title: "Library",
      tooltip: "Asset library (comfy-assets)",
      type: "custom",
      render,
      destroy: () => panel?.unmount(),
    });
  }),
});
