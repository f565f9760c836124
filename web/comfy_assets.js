/** The entry: tells ComfyUI's page of the panel. The panel itself is loaded when it is first opened. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { comfyPage } from "./panel/comfy_page.mjs";
import { SETTINGS } from "./panel/settings.mjs";
import { watchScans } from "./panel/status/scan_toast.mjs";

const TAB = "comfy-assets";
const OPEN = "ComfyAssets.Open";
const FIND = "ComfyAssets.Find";

const page = comfyPage(app, api);
let panel = null; // once it is loaded

/** Whatever fails in the panel stays in the panel: the page goes on without it. */
function guarded(deed) {
  return async (...args) => {
    try {
      return await deed(...args);
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
function showFailure(place, error) {
  console.error("comfy-assets:", error);
  const again = document.createElement("button");
  again.textContent = "Try again";
  again.addEventListener("click", () => render(place));
  place.replaceChildren("The panel of comfy-assets could not be loaded. ", again);
}

async function render(place) {
  try {
    (await load()).mount(place);
  } catch (error) {
    showFailure(place, error);
  }
}

const open = guarded(() => {
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
      function: guarded(() => app.extensionManager.sidebarTab.toggleSidebarTab(TAB)),
    },
    {
      id: FIND,
      label: "Find in the asset library",
      icon: "pi pi-search",
      function: guarded(async () => {
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
  setup: guarded(() => {
    app.extensionManager.registerSidebarTab({
      id: TAB,
      icon: "pi pi-images",
      title: "Library",
      tooltip: "Asset library (comfy-assets)",
      type: "custom",
      render,
      destroy: () => panel?.unmount(),
    });
    watchScans(page);
    // The page warns of messages that nobody listens to, and the panel does only once it is open.
    for (const type of ["assets.changed", "assets.seed.fast_complete"]) page.listen(type, () => {});
  }),
});
