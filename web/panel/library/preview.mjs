/** The large picture, video, sound or sign of an asset. */

import { h } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { mediumOf, sourceUrl, thumbnailUrl } from "./asset.mjs";

const LARGE_PX = 1024;

/** What shows an asset; what cannot be shown is a sign. */
export function preview({ page }, asset) {
  const medium = mediumOf(asset);
  const source = sourceUrl(page, asset);
  const sign = () => h("div", { class: "ca-preview-sign" }, icon(medium));
  const box = h("div", { class: `ca-preview ca-preview-${medium}` });
  if (medium === "video") box.append(h("video", { src: source, controls: true, preload: "metadata", loop: true }));
  else if (medium === "audio") box.append(sign(), h("audio", { src: source, controls: true, preload: "metadata" }));
  else {
    const url = thumbnailUrl(page, asset, LARGE_PX);
    if (url === null) box.append(sign());
    else {
      const picture = h("img", { src: url, alt: asset.name, decoding: "async" });
      picture.addEventListener("error", () => picture.replaceWith(sign()));
      box.append(picture);
    }
  }
  return box;
}
