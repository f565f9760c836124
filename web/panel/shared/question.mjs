/** Questions in a dialog, before what cannot be taken back or has consequences elsewhere. */

/** @import { Child } from "./dom.mjs" */
/** @import { Translate } from "../types.d.ts" */
/** @import { IconName } from "./icons.mjs" */

import { button } from "./buttons.mjs";
import { createDialog } from "./dialog.mjs";
import { h } from "./dom.mjs";

/**
 * Ask a question. Resolves to whether the user agrees: Escape and closing do not. The focus is on the button that
 * changes nothing, as the key that led here may still be pressed, and returns to where it was.
 *
 * @param {Translate} t
 * @param {{ title: string, body: Child[], confirm: { icon: IconName, label: string } | null }} options without
 *   `confirm` there is nothing to agree to
 * @returns {Promise<boolean>}
 */
export function ask(t, { title, body, confirm }) {
  const focused = document.activeElement;
  return new Promise((resolve) => {
    let isAgreed = false;
    const agree = () => {
      isAgreed = true;
      dialog.close();
    };
    const cancel = button("close", t(confirm ? "common.cancel" : "common.close"), () => dialog.close());
    const buttons = h(
      "div",
      { class: "ca-question-buttons" },
      cancel,
      confirm && button(confirm.icon, confirm.label, agree, { kind: "ca-danger" }),
    );
    const dialog = createDialog(
      "ca-question",
      title,
      h("h3", { class: "ca-question-title" }, title),
      h("div", { class: "ca-question-body" }, ...body),
      buttons,
    );
    dialog.addEventListener("close", () => {
      if (focused instanceof HTMLElement && focused.isConnected) focused.focus({ preventScroll: true });
      resolve(isAgreed);
    });
    dialog.showModal();
    cancel.focus();
  });
}

/**
 * Create a list of lines, with the number of those that are left out.
 *
 * @param {Translate} t
 * @param {Child[]} lines
 * @param {{ most?: number, total?: number }} [options] `total` is the number of all, if `lines` are fewer
 */
export function lineList(t, lines, { most = 100, total = lines.length } = {}) {
  const shown = lines.slice(0, most);
  const rest = total - shown.length;
  return h(
    "ul",
    { class: "ca-lines", tabindex: "0" },
    shown.map((line) => h("li", {}, line)),
    rest > 0 && h("li", { class: "ca-muted" }, t("common.more", { count: rest })),
  );
}
