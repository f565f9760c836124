/** Presses of a pointer on an element: what is pressed must not change or move before the click. */

const CLICK_DELAY_MS = 50; // from the end of a touch to its click
const MAX_MS = 5000; // what is held longer is dragged, or opens a menu
const ENDS = ["pointerup", "pointercancel"];

export class Press {
  #end = Promise.resolve();

  /** @param {HTMLElement} element */
  constructor(element) {
    element.addEventListener("pointerdown", () => (this.#end = endOfPress()), { capture: true });
  }

  /** Wait until nothing is pressed, and the click has been handled. */
  released() {
    return this.#end;
  }
}

/** @returns {Promise<void>} */
function endOfPress() {
  return new Promise((resolve) => {
    const listening = new AbortController();
    const end = () => {
      clearTimeout(timer);
      listening.abort();
      setTimeout(resolve, CLICK_DELAY_MS);
    };
    const timer = setTimeout(end, MAX_MS);
    const { signal } = listening;
    for (const type of ENDS) globalThis.addEventListener(type, end, { capture: true, signal });
    globalThis.addEventListener("blur", end, { signal }); // of the window: that of an element does not bubble
  });
}
