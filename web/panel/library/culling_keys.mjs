/** Keys that rate assets, mark favourites and take changes back: the same in the grid, the details and the viewer. */

/** @import { DeletionAction } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { AssetActions } from "./asset_actions.mjs" */
/** @import { SelectedAssets } from "./search_results.mjs" */

import { iconButton } from "../shared/buttons.mjs";
import { createDialog, takesText } from "../shared/dialog.mjs";
import { h } from "../shared/dom.mjs";
import { propertyRow } from "./properties.mjs";
import { areFavourites, countOf } from "./search_results.mjs";

/** The keys as the help shows them, by the place where they work. Those in lower case are named in the texts. */
const HELP = /** @type {const} */ ({
  everywhere: [
    ["0–5", "rate"],
    ["shift 0–5", "rateAndGoOn"],
    ["F", "favourite"],
    ["delete", "trash"],
    ["shift delete", "remove"],
    ["ctrl Z", "undo"],
    ["F2", "rename"],
    ["?", "help"],
  ],
  grid: [
    ["space", "view"],
    ["enter", "details"],
    ["X", "select"],
    ["ctrl A", "selectAll"],
    ["escape", "clear"],
    ["/", "search"],
    ["Alt ← ↑ → ↓", "order"],
  ],
  viewer: [
    ["← →", "step"],
    ["home end", "ends"],
    ["Z", "actualSize"],
    ["+ −", "zoom"],
    ["shift ← ↑ → ↓", "pan"],
    ["space", "play"],
    ["I", "info"],
    ["escape", "close"],
  ],
});

/** Keys with a meaning of their own, which some layouts have on a digit with Shift. */
const NOT_A_RATING = ["?", "/", "+", "-"];

/**
 * Return how the Delete key deletes.
 *
 * @param {{ shiftKey: boolean }} event
 * @returns {DeletionAction}
 */
export function deletionOf({ shiftKey }) {
  return shiftKey ? "remove" : "trash";
}

/**
 * Return whether a key selects the active asset: X, or Ctrl+Space where the system leaves that to the page.
 *
 * @param {KeyboardEvent} event
 */
export function isSelectKey({ key, ctrlKey, metaKey, altKey }) {
  if (altKey || metaKey) return false;
  return ctrlKey ? key === " " : key.toLowerCase() === "x";
}

export class CullingKeys {
  #context;
  #actions;

  /**
   * @param {PanelContext} context
   * @param {AssetActions} actions
   */
  constructor(context, actions) {
    this.#context = context;
    this.#actions = actions;
  }

  /**
   * Do what a key stands for, with some assets. Returns whether it stands for anything; the event is then to be kept
   * from the page.
   *
   * @param {KeyboardEvent} event
   * @param {SelectedAssets} assets
   * @param {() => unknown} [goOn] moves to the next asset, after a rating with Shift
   */
  handle(event, assets, goOn) {
    if (event.altKey || takesText(event.target)) return false;
    if (event.ctrlKey || event.metaKey) return this.#handleChord(event);
    if (event.key === "?") this.showHelp();
    else if (countOf(assets) === 0) return false;
    else if (/^[0-5]$/.test(event.key)) this.#report(this.#actions.rate(assets, Number(event.key)));
    else if (shiftedDigit(event) !== null) {
      this.#report(this.#actions.rate(assets, Number(shiftedDigit(event))));
      goOn?.();
    } else if (event.key.toLowerCase() === "f" && !event.repeat) {
      this.#report(this.#actions.favour(assets, !areFavourites(assets)));
    } else return false;
    return true;
  }

  /** Show the keys in a dialog. */
  showHelp() {
    const { t } = this.#context;
    const close = iconButton("close", t("common.close"), () => dialog.close());
    /** @param {keyof typeof HELP} place */
    const section = (place) =>
      h(
        "section",
        { class: "ca-section" },
        h("h4", {}, t(`keysIn.${place}`)),
        h("dl", {}, HELP[place].map(([keys, what]) => keyRow(this.#context, keys, what))),
      );
    const title = h("div", { class: "ca-dialog-title" }, h("h3", {}, t("keysIn.title")), close);
    const sections = /** @type {(keyof typeof HELP)[]} */ (Object.keys(HELP)).map(section);
    const dialog = createDialog("ca-keys", t("keysIn.title"), title, h("div", { class: "ca-keys-body" }, sections));
    dialog.showModal();
  }

  /** @param {KeyboardEvent} event */
  #handleChord(event) {
    if (event.key.toLowerCase() !== "z" || event.shiftKey) return false;
    // ComfyUI's page undoes changes of its graph. It has seen the event before any element, and reads it a frame later.
    Object.defineProperties(event, { ctrlKey: { value: false }, metaKey: { value: false } });
    this.#report(this.#actions.undo());
    return true;
  }

  /** @param {Promise<unknown>} change */
  async #report(change) {
    try {
      await change;
    } catch (error) {
      this.#context.notifications.error(this.#context.t("asset.changeFailed"), error);
    }
  }
}

/**
 * Return the digit from 0 to 5 that was pressed with Shift, or null. The character is another one on most layouts; where
 * it is the digit itself, digits need Shift.
 *
 * @param {KeyboardEvent} event
 */
function shiftedDigit({ shiftKey, code, key }) {
  if (!shiftKey || NOT_A_RATING.includes(key)) return null;
  return /^Digit([0-5])$/.exec(code)?.[1] ?? null;
}

/**
 * @param {PanelContext} context
 * @param {string} keys
 * @param {string} what they do
 */
function keyRow({ t }, keys, what) {
  const names = keys.split(" ").map((key) => h("kbd", {}, /^[a-z]+$/.test(key) ? t(`keyName.${key}`) : key));
  return propertyRow(names, t(`keys.${what}`));
}
