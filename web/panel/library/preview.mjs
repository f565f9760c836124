/** The large picture, the player, or the icon of an asset in the details. */

/** @import { Asset } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { iconButton } from "../shared/buttons.mjs";
import { h } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { allowsAnonymous, contentUrl, isAnimated, mediaKind, thumbnailUrl } from "./asset.mjs";

const PREVIEW_PX = 1024;

/**
 * Create the preview of an asset. A click on its picture opens it at full size, and so does a button.
 *
 * @param {PanelContext} context
 * @param {Asset} asset
 * @param {() => unknown} view opens the viewer
 */
export function preview({ page, t }, asset, view) {
  const kind = mediaKind(asset);
  const src = contentUrl(page, asset);
  const thumbnail = thumbnailUrl(page, asset, PREVIEW_PX);
  const url = isAnimated(asset) && allowsAnonymous(page, asset) ? src : thumbnail;
  const placeholder = () => h("div", { class: "ca-preview-icon", onclick: view }, icon(kind));
  const picture = () => {
    if (url === null) return placeholder();
    const image = h("img", { src: url, alt: asset.name, decoding: "async", onclick: view });
    image.addEventListener("error", () => image.replaceWith(placeholder()));
    return image;
  };
  const open = iconButton("expand", t("viewer.open"), view, { "aria-haspopup": "dialog" });
  open.classList.add("ca-preview-open");
  const box = h("div", { class: "ca-preview" }, open);
  if (kind === "video") {
    const video = h("video", { src, poster: thumbnail, controls: true, preload: "metadata", loop: true });
    video.addEventListener("error", () => video.replaceWith(picture())); // a container that this browser cannot play
    box.append(video);
  } else box.append(picture());
  if (kind === "audio") box.append(h("audio", { src, controls: true, preload: "metadata" }));
  return box;
}
