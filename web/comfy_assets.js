/** The entry: tells ComfyUI's page of the panel. The panel itself is loaded when it is first opened. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { comfyPage } from "./panel/comfy_page.mjs";
import { SETTINGS } from "./panel/settings.mjs";
import { showScanToasts } from "./panel/status/scan_toast.mjs";

const TAB = "comfy-assets";
const OPEN = "ComfyAssets.Open";
const FIND = "ComfyAssets.Find";

const page = comfyPage(app, api);
let panel = null; // once it is loaded

/** Whatever fails in the panel stays in the panel: the page goes on without it. */
function logErrors(action) {
  return async (...args) => {
    try {
      return await action(...args);
    } catch (error) {
      console.error("comfy-assets:", error);
      return undefined;
    }
  };
}

async function load() {
  const { createPanel } = await import("./panel/panel.mjs");
  panel ??= createPanel(page);
  return panel;
}

/** What is shown when not even the panel's files can be had. */
function showFailure(container, error) {
  console.error("comfy-assets:", error);
  const retry = document.createElement("button");
  retry.textContent = "Try again";
  retry.addEventListener("click", () => render(container));
  container.replaceChildren("The panel of comfy-assets could not be loaded. ", retry);
}

async function render(container) {
  try {
    (await load()).mount(container);
  } catch (error) {
    showFailure(container, error);
  }
}

const open = logErrors(() => {
  const tabs = app.extensionManager.sidebarTab;
  if (tabs.activeSidebarTabId !== TAB) tabs.toggleSidebarTab(TAB);
});

app.registerExtension({
  name: "comfy-assets",
  commands: [
    {
      id: OPEN,
      label: "Show or hide the asset library",
      icon: "pi pi-images",
      function: logErrors(() => app.extensionManager.sidebarTab.toggleSidebarTab(TAB)),
    },
    {
      id: FIND,
      label: "Find in the asset library",
      icon: "pi pi-search",
      function: logErrors(async () => {
        await open();
        (await load()).find();
      }),
    },
  ],
  keybindings: [
    { commandId: OPEN, combo: { key: "l", alt: true } },
    { commandId: FIND, combo: { key: "k", alt: true } },
  ],
  menuCommands: [{ path: ["Extensions", "Asset library"], commands: [OPEN, FIND] }],
  settings: SETTINGS,
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
    showScanToasts(page);
    // The page warns of messages that nobody listens to, and the panel does only once it is open.
    for (const type of ["assets.changed", "assets.seed.fast_complete"]) page.listen(type, () => {});
  }),
});
