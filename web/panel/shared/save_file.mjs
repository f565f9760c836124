/** Saving files on the user's disk, as the browser saves downloads. */

const BLOB_URL_MS = 60_000; // until a slow browser has certainly begun to save it

/**
 * Save what an address leads to.
 *
 * @param {string} url
 * @param {string} name
 */
export function saveUrl(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
export function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  saveUrl(url, name);
  setTimeout(() => URL.revokeObjectURL(url), BLOB_URL_MS);
}

/**
 * @param {unknown} value
 * @param {string} name
 */
export function saveJson(value, name) {
  saveBlob(new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }), name);
}
