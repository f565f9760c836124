/** Publishing a workflow: the assets it needs, which go along, and which the recipient would miss. */

import { h, setChildren } from "../shared/dom.mjs";
import { button } from "../shared/buttons.mjs";
import { icon } from "../shared/icons.mjs";
import { isMissing, mediaKind } from "../library/asset.mjs";

const BATCH_SIZE = 20; // assets that are looked up at a time

export class PublishSection {
  #context;
  #path;
  #chosen = new Set();

  /** Publishing is by the file that a workflow is saved in. */
  constructor(context, workflow) {
    this.#context = context;
    this.#path = workflow.path && `/userdata/${encodeURIComponent(workflow.path)}/publish`;
    this.element = h("section", { class: "ca-section", hidden: true });
  }

  /** Show the assets that a version names, and what is published; nothing where the server cannot publish. */
  async show(assetIds) {
    const publication = await this.#fetchPublication();
    if (publication === undefined) return;
    const assets = await this.#fetchAssets(assetIds);
    for (const asset of assets) if (!isMissing(asset)) this.#chosen.add(asset.id);
    this.#showContent(publication, assets);
    this.element.hidden = false;
  }

  /** What is published; null for a workflow without a file, undefined on a server that does not publish. */
  async #fetchPublication() {
    if (!this.#path) return null;
    try {
      return await this.#context.client.get(this.#path);
    } catch (error) {
      return error.code === "WORKFLOW_NOT_FOUND" ? null : undefined;
    }
  }

  async #fetchAssets(ids) {
    const { client } = this.#context;
    const found = [];
    for (let from = 0; from < ids.length; from += BATCH_SIZE) {
      const some = ids.slice(from, from + BATCH_SIZE).map((id) => client.get(`/assets/${id}`));
      found.push(...(await Promise.allSettled(some)));
    }
    return found.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
  }

  #showContent(publication, assets) {
    const { t } = this.#context;
    const list = assets.map((asset) => h("li", {}, this.#row(asset)));
    setChildren(
      this.element,
      h("h4", {}, t("publish.title")),
      assets.length === 0
        ? h("p", { class: "ca-muted" }, t("publish.noDependencies"))
        : h("p", {}, t("publish.dependencies")),
      h("ul", { class: "ca-dependencies" }, list),
      publication === null ? h("p", { class: "ca-muted" }, t("publish.needsFile")) : button(
        "share",
        publication.share_id ? t("publish.again") : t("publish.publish"),
        () => this.#publish(assets),
      ),
      publication?.share_id && this.#share(publication.share_id, assets),
    );
  }

  #row(asset) {
    const { t } = this.#context;
    const missing = isMissing(asset);
    const note = h("span", { class: "ca-muted" });
    const box = h("input", { type: "checkbox", checked: this.#chosen.has(asset.id), disabled: missing });
    const show =
      () => (note.textContent = box.checked ? "" : t(missing ? "publish.fileMissing" : "publish.notIncluded"));
    box.addEventListener("change", () => {
      if (box.checked) this.#chosen.add(asset.id);
      else this.#chosen.delete(asset.id);
      show();
    });
    show();
    return h(
      "label",
      { class: "ca-dependency" },
      box,
      icon(mediaKind(asset)),
      h("span", { class: "ca-dependency-name" }, asset.name),
      note,
    );
  }

  #share(id, assets) {
    const { t, notifications } = this.#context;
    const url = new URL(`?share=${encodeURIComponent(id)}`, location.href);
    const copy = async () => {
      await navigator.clipboard.writeText(url.href);
      notifications.show(t("publish.copied"));
    };
    const unpublish = button("stop", t("publish.unpublish"), () => this.#unpublish(assets), { kind: "ca-danger" });
    return h(
      "p",
      { class: "ca-share-link" },
      h("code", {}, url.href),
      button("copy", t("publish.copy"), copy),
      unpublish,
    );
  }

  async #publish(assets) {
    const { client, notifications, t } = this.#context;
    try {
      const publication = await client.post(this.#path, { asset_ids: [...this.#chosen] });
      this.#showContent(publication, assets);
      notifications.show(t("publish.published"));
    } catch (error) {
      notifications.error(t("publish.failed"), error);
    }
  }

  async #unpublish(assets) {
    const { client, notifications, t } = this.#context;
    try {
      await client.request("DELETE", this.#path);
      this.#showContent({ share_id: "" }, assets);
      notifications.show(t("publish.unpublished"));
    } catch (error) {
      notifications.error(t("publish.unpublishFailed"), error);
    }
  }
}
