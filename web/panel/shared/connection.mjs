/** What failed while the server could not be reached, and is tried again by itself once it can. */

/** @import { ServerMessages } from "../api.d.ts" */
/** @import { HostPage } from "../types.d.ts" */

/** Of the document, once the page's connection to the server is there again. */
export const RECONNECTED = "comfy-assets:reconnected";

/**
 * Tell all parts of the panel when the connection is there again, and load the images that failed.
 *
 * @param {HostPage} page
 */
export function watchConnection(page) {
  page.listen("reconnected", () => {
    document.dispatchEvent(new CustomEvent(RECONNECTED));
    for (const image of document.querySelectorAll("img")) {
      if (isBroken(image)) image.src = String(image.getAttribute("src"));
    }
  });
}

/**
 * Listen to messages that tell of changes of a list, and to the end of a time in which they were lost.
 *
 * @param {HostPage} page
 * @param {readonly (keyof ServerMessages)[]} types
 * @param {() => void} listener
 */
export function listenForChanges(page, types, listener) {
  for (const type of [...types, /** @type {const} */ ("reconnected")]) page.listen(type, listener);
}

/** @param {HTMLImageElement} image */
function isBroken(image) {
  const isOurs = image.closest(".ca-root") !== null && image.hasAttribute("src");
  return isOurs && image.complete && image.naturalWidth === 0;
}

/**
 * Call a function when the connection is there again, unless an element has left the page by then.
 *
 * @param {HTMLElement} element that shows what failed
 * @param {() => unknown} retry
 */
export function whenReconnected(element, retry) {
  document.addEventListener(RECONNECTED, () => element.isConnected && retry(), { once: true });
}
