/** One asset in detail: its picture, what can be done with it, and all that is known of it. */

import { h, setChildren } from "../shared/dom.mjs";
import { button, iconButton, setPressed } from "../shared/buttons.mjs";
import { isAborted } from "../shared/client.mjs";
import { icon } from "../shared/icons.mjs";
import { errorPlaceholder } from "../shared/placeholders.mjs";
import { contentUrl, isFavourite, isMissing, mediaKind, thumbnailUrl } from "./asset.mjs";
import { startDrag } from "./drag.mjs";
import { properties } from "./properties.mjs";
import { starRating } from "./star_rating.mjs";
import { TagEditor } from "./tag_editor.mjs";
import { embeddedMetadata } from "./embedded_metadata.mjs";

const PREVIEW_PX = 1024;

export class AssetDetail {
  #context;
  #neighbours;
  #actions;
  #remove;
  #asset = null;
  #index = -1;
  #request = null;

  constructor(context, neighbours, actions, remove) {
    this.#context = context;
    this.#neighbours = neighbours;
    this.#actions = actions;
    this.#remove = remove;
    this.element = h("div", {
      class: "ca-detail",
      role: "dialog",
      "aria-label": context.t("detail.title"),
      tabindex: "-1",
    });
    this.element.hidden = true;
    this.element.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show an asset; `index` is its place in the list, or -1 if it is from elsewhere. */
  async open(asset, index) {
    this.#asset = asset;
    this.#index = index;
    this.element.hidden = false;
    this.#show(asset);
    this.element.focus({ preventScroll: true });
    await this.#fetch();
  }

  close() {
    if (this.element.hidden) return;
    this.#request?.abort();
    this.element.hidden = true;
    this.element.replaceChildren(); // videos stop
    this.#neighbours.focus();
  }

  async #fetch() {
    this.#request?.abort();
    const request = (this.#request = new AbortController());
    const { signal } = request;
    const { id } = this.#asset;
    const { client } = this.#context;
    try {
      const asset = await client.get(`/assets/${id}`, { signal });
      const copies = asset.hash
        ? await client.get("/assets", { query: { hash: asset.hash, limit: 20 }, signal })
        : null;
      const others = copies?.assets.filter((copy) => copy.id !== id) ?? [];
      if (this.#asset.id === id) this.#showDetails(asset, others);
    } catch (error) {
      if (!isAborted(error) && this.#asset.id === id) {
        setChildren(
          this.rest,
          errorPlaceholder(this.#context.t, error, () => this.#fetch()),
        );
      }
    }
  }

  #showDetails(asset, copies) {
    this.#asset = asset;
    this.title.textContent = asset.name;
    setChildren(
      this.rest,
      properties(this.#context, asset),
      copies.length > 0 && this.#copies(copies),
      ...embeddedMetadata(this.#context, asset),
    );
    this.opener.hidden = !(asset.metadata?.workflow || asset.metadata?.prompt);
  }

  #show(asset) {
    const { t, page } = this.#context;
    this.title = h("h3", { class: "ca-detail-name" }, asset.name);
    this.rest = h("div");
    this.opener = button("graph", t("asset.openWorkflow"), () => this.#actions.openWorkflow(this.#asset), {
      kind: "ca-primary",
    });
    this.opener.hidden = true;
    const picture = preview(this.#context, asset);
    picture.draggable = true;
    picture.addEventListener("dragstart", (event) => startDrag(event, page, this.#asset));
    const tags = new TagEditor(
      this.#context,
      asset,
      (change) => this.#change(() => this.#actions.tag(this.#asset, change)),
    );
    setChildren(
      this.element,
      this.#head(),
      h(
        "div",
        { class: "ca-detail-body" },
        picture,
        isMissing(asset) && h("p", { class: "ca-warning" }, t("asset.missingHint")),
        h("div", { class: "ca-detail-title" }, this.title, iconButton("edit", t("asset.rename"), () => this.#rename())),
        this.#ratingRow(asset),
        h(
          "div",
          { class: "ca-actions" },
          this.opener,
          button("download", t("asset.download"), () => this.#actions.download(this.#asset)),
          button("trash", t("asset.delete"), () => this.#remove([this.#asset]), { kind: "ca-danger" }),
        ),
        tags.element,
        this.rest,
      ),
    );
  }

  #head() {
    const { t } = this.#context;
    const isListed = this.#index >= 0;
    const previous = iconButton("back", t("detail.previous"), () => this.#step(-1), {
      disabled: !isListed || this.#index === 0,
    });
    const isLast = this.#index >= this.#neighbours.count() - 1;
    const next = iconButton("forward", t("detail.next"), () => this.#step(1), { disabled: !isListed || isLast });
    return h(
      "div",
      { class: "ca-detail-header" },
      button("back", t("detail.back"), () => this.close(), { kind: "ca-plain" }),
      h("span", { class: "ca-spacer" }),
      previous,
      next,
    );
  }

  #ratingRow(asset) {
    const { t } = this.#context;
    const favourite = iconButton("heart", t("asset.favourite"), () => {
      const isWanted = favourite.getAttribute("aria-pressed") !== "true";
      setPressed(favourite, isWanted);
      this.#change(() => this.#actions.setFavourite(this.#asset, isWanted));
    });
    setPressed(favourite, isFavourite(asset));
    const rate = (count) => this.#change(() => this.#actions.setRating(this.#asset, count));
    return h("div", { class: "ca-rating-row" }, favourite, starRating(t, asset, rate));
  }

  #copies(copies) {
    const { t } = this.#context;
    const open = (copy) => button("file", copy.file_path ?? copy.name, () => this.open(copy, -1), { kind: "ca-plain" });
    return h(
      "section",
      { class: "ca-section" },
      h("h4", {}, t("detail.copies", { count: copies.length })),
      h("ul", { class: "ca-copies" }, copies.map((copy) => h("li", {}, open(copy)))),
    );
  }

  /** Change the asset; when that fails, say so and show how it is. */
  async #change(action) {
    try {
      this.#asset = { ...this.#asset, ...(await action()) };
      return true;
    } catch (error) {
      this.#context.notifications.error(this.#context.t("asset.changeFailed"), error);
      if (!this.element.hidden) this.#show(this.#asset);
      this.#fetch();
      return false;
    }
  }

  #rename() {
    const { t } = this.#context;
    const input = h("input", {
      class: "ca-input",
      type: "text",
      "aria-label": t("asset.name"),
      value: this.#asset.name,
    });
    const show = () => input.replaceWith(this.title);
    const save = async () => {
      const name = input.value.trim();
      show();
      if (name === "" || name === this.#asset.name) return;
      this.title.textContent = name;
      await this.#change(() => this.#actions.rename(this.#asset, name));
    };
    input.addEventListener("blur", save, { once: true });
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") input.value = this.#asset.name;
      if (event.key === "Enter" || event.key === "Escape") this.element.focus({ preventScroll: true });
    });
    this.title.replaceWith(input);
    input.focus();
    const stem = input.value.lastIndexOf(".");
    input.setSelectionRange(0, stem > 0 ? stem : input.value.length);
  }

  #step(by) {
    const index = this.#index + by;
    const asset = this.#neighbours.at(index);
    if (this.#index < 0 || index < 0 || index >= this.#neighbours.count()) return;
    this.#neighbours.activate(index);
    if (asset !== undefined) this.open(asset, index);
  }

  #key(event) {
    const isTyping = event.target.matches("input, textarea, select");
    if (event.key === "Escape") this.close();
    else if (isTyping || event.ctrlKey || event.metaKey) return;
    else if (event.key === "ArrowLeft") this.#step(-1);
    else if (event.key === "ArrowRight") this.#step(1);
    else if (event.key === "Delete") this.#remove([this.#asset]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** What shows an asset; what cannot be shown is a placeholder. */
function preview({ page }, asset) {
  const kind = mediaKind(asset);
  const source = contentUrl(page, asset);
  const placeholder = () => h("div", { class: "ca-preview-icon" }, icon(kind));
  const box = h("div", { class: `ca-preview ca-preview-${kind}` });
  if (kind === "video") box.append(h("video", { src: source, controls: true, preload: "metadata", loop: true }));
  else if (kind === "audio") {
    box.append(placeholder(), h("audio", { src: source, controls: true, preload: "metadata" }));
  } else {
    const url = thumbnailUrl(page, asset, PREVIEW_PX);
    if (url === null) box.append(placeholder());
    else {
      const picture = h("img", { src: url, alt: asset.name, decoding: "async" });
      picture.addEventListener("error", () => picture.replaceWith(placeholder()));
      box.append(picture);
    }
  }
  return box;
}
