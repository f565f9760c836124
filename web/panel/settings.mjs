/** The panel's entries in ComfyUI's settings. Its keys are changed in ComfyUI's own list of keybindings. */

/** @import { ComfySetting } from "./comfyui.d.ts" */

export const LANGUAGE = "ComfyAssets.Panel.Language";
export const CELL_SIZE = "ComfyAssets.Panel.ThumbnailSize";
export const TOASTS = "ComfyAssets.Panel.Toasts";
const ACCOUNT = "ComfyAssets.Login.Account";

/**
 * Return the entries.
 *
 * @param {() => HTMLElement} accountButton creates the button that opens the account
 * @returns {ComfySetting[]}
 */
export const settings = (accountButton) => [
  {
    id: ACCOUNT,
    category: ["Comfy Assets", "Login", "Account"],
    name: "Account, sessions, tokens and users",
    type: accountButton,
    defaultValue: "",
  },
  {
    id: LANGUAGE,
    category: ["Comfy Assets", "Panel", "Language"],
    name: "Panel language",
    type: "combo",
    options: [
      { text: "Same as ComfyUI", value: "page" },
      { text: "English", value: "en" },
      { text: "中文", value: "zh" },
      { text: "繁體中文", value: "zh-TW" },
      { text: "Русский", value: "ru" },
      { text: "日本語", value: "ja" },
      { text: "한국어", value: "ko" },
      { text: "Français", value: "fr" },
      { text: "Español", value: "es" },
      { text: "عربي", value: "ar" },
      { text: "Türkçe", value: "tr" },
      { text: "Português (BR)", value: "pt-BR" },
      { text: "فارسی", value: "fa" },
      { text: "עברית", value: "he" },
      { text: "Italiano", value: "it" },
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
