/** The large picture, video, sound or placeholder of an asset. */

import { h } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { mediaKind, contentUrl, thumbnailUrl } from "./asset.mjs";

const LARGE_PX = 1024;

/** What shows an asset; what cannot be shown is a placeholder. */
export function preview({ page }, asset) {
  const kind = mediaKind(asset);
  const source = contentUrl(page, asset);
  const placeholder = () => h("div", { class: "ca-preview-icon" }, icon(kind));
  const box = h("div", { class: `ca-preview ca-preview-${kind}` });
  if (kind === "video") box.append(h("video", { src: source, controls: true, preload: "metadata", loop: true }));
  else if (kind === "audio") box.append(placeholder(), h("audio", { src: source, controls: true, preload: "metadata" }));
  else {
    const url = thumbnailUrl(page, asset, LARGE_PX);
    if (url === null) box.append(placeholder());
    else {
      const picture = h("img", { src: url, alt: asset.name, decoding: "async" });
      picture.addEventListener("error", () => picture.replaceWith(placeholder()));
      box.append(picture);
    }
  }
  return box;
}
