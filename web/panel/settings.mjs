/** The panel's entries in ComfyUI's settings. Its keys are changed in ComfyUI's own list of keybindings. */

/** @import { ComfySetting } from "./comfyui.d.ts" */

export const LANGUAGE = "ComfyAssets.Panel.Language";
export const CELL_SIZE = "ComfyAssets.Panel.ThumbnailSize";
export const TOASTS = "ComfyAssets.Panel.Toasts";

/** @type {ComfySetting[]} */
export const SETTINGS = [
  {
    id: LANGUAGE,
    category: ["Comfy Assets", "Panel", "Language"],
    name: "Panel language",
    type: "combo",
    options: [
      { text: "Same as ComfyUI", value: "page" },
      { text: "English", value: "en" },
      { text: "Deutsch", value: "de" },
    ],
    defaultValue: "page",
    tooltip: "Takes effect after the page is reloaded.",
  },
  {
    id: CELL_SIZE,
    category: ["Comfy Assets", "Panel", "Thumbnails"],
    name: "Thumbnail size in pixels",
    type: "slider",
    attrs: { min: 80, max: 320, step: 8 },
    defaultValue: 128,
  },
  {
    id: TOASTS,
    category: ["Comfy Assets", "Panel", "Toasts"],
    name: "Notify when a long scan ends",
    type: "boolean",
    defaultValue: true,
  },
];
