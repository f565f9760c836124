/** The small picture of an output of a job, in rows of lists. */

/** @import { Job } from "../api.d.ts" */
/** @import { HostPage } from "../types.d.ts" */

const PREVIEW_PX = 128;

/**
 * Show an output in an image element, or nothing without one.
 *
 * @param {HostPage} page
 * @param {HTMLImageElement} element
 * @param {Job["preview_output"]} output
 */
export function outputThumbnail(page, element, output) {
  const url = thumbnailUrl(page, output);
  element.hidden = url === null;
  if (element.getAttribute("src") === url) return; // the same image would be decoded again
  if (url === null) element.removeAttribute("src");
  else element.src = url;
}

/**
 * Return the address of the picture: of images, videos and sounds, of which the server makes one.
 *
 * @param {HostPage} page
 * @param {Job["preview_output"]} output
 */
function thumbnailUrl(page, { filename, subfolder = "", type = "output", mediaType = "images" } = {}) {
  if (!filename || mediaType === "text") return null;
  return page.url(`/view?${new URLSearchParams({ filename, subfolder, type, res: String(PREVIEW_PX) })}`);
}
