/** Publishing a workflow: the assets it needs, which go along, and which the recipient would miss. */

import { fill, h } from "../shared/dom.mjs";
import { button } from "../shared/buttons.mjs";
import { icon } from "../shared/icons.mjs";
import { isMissing, mediumOf } from "../library/asset.mjs";

const TOGETHER = 20; // assets that are looked up at a time

export class Publishing {
  #context;
  #path;
  #chosen = new Set();

  /** Publishing is by the file that a workflow is saved in. */
  constructor(context, workflow) {
    this.#context = context;
    this.#path = workflow.path && `/userdata/${encodeURIComponent(workflow.path)}/publish`;
    this.element = h("section", { class: "ca-block", hidden: true });
  }

  /** Show the assets that a version names, and what is published; nothing where the server cannot publish. */
  async show(assetIds) {
    const info = await this.#info();
    if (info === undefined) return;
    const assets = await this.#assets(assetIds);
    for (const asset of assets) if (!isMissing(asset)) this.#chosen.add(asset.id);
    this.#fill(info, assets);
    this.element.hidden = false;
  }

  /** What is published; null for a workflow without a file, undefined on a server that does not publish. */
  async #info() {
    if (!this.#path) return null;
    try {
      return await this.#context.client.get(this.#path);
    } catch (error) {
      return error.code === "WORKFLOW_NOT_FOUND" ? null : undefined;
    }
  }

  async #assets(ids) {
    const { client } = this.#context;
    const found = [];
    for (let from = 0; from < ids.length; from += TOGETHER) {
      const some = ids.slice(from, from + TOGETHER).map((id) => client.get(`/assets/${id}`));
      found.push(...(await Promise.allSettled(some)));
    }
    return found.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
  }

  #fill(info, assets) {
    const { t } = this.#context;
    const list = assets.map((asset) => h("li", {}, this.#row(asset)));
    fill(
      this.element,
      h("h4", {}, t("publish.title")),
      assets.length === 0 ? h("p", { class: "ca-quiet" }, t("publish.needsNothing")) : h("p", {}, t("publish.needs")),
      h("ul", { class: "ca-needs" }, list),
      info === null
        ? h("p", { class: "ca-quiet" }, t("publish.needsFile"))
        : button("share", info.share_id ? t("publish.again") : t("publish.publish"), () => this.#publish(assets)),
      info?.share_id && this.#share(info.share_id, assets),
    );
  }

  #row(asset) {
    const { t } = this.#context;
    const missing = isMissing(asset);
    const note = h("span", { class: "ca-quiet" });
    const box = h("input", { type: "checkbox", checked: this.#chosen.has(asset.id), disabled: missing });
    const show = () => (note.textContent = box.checked ? "" : t(missing ? "publish.isMissing" : "publish.wouldMiss"));
    box.addEventListener("change", () => {
      if (box.checked) this.#chosen.add(asset.id);
      else this.#chosen.delete(asset.id);
      show();
    });
    show();
    return h("label", { class: "ca-need" }, box, icon(mediumOf(asset)), h("span", { class: "ca-need-name" }, asset.name), note);
  }

  #share(id, assets) {
    const { t, notices } = this.#context;
    const url = new URL(`?share=${encodeURIComponent(id)}`, window.location.href);
    const copy = async () => {
      await navigator.clipboard.writeText(url.href);
      notices.show(t("publish.copied"));
    };
    const withdraw = button("stop", t("publish.withdraw"), () => this.#withdraw(assets), { kind: "ca-danger" });
    return h("p", { class: "ca-share" }, h("code", {}, url.href), button("copy", t("publish.copy"), copy), withdraw);
  }

  async #publish(assets) {
    const { client, notices, t } = this.#context;
    try {
      const info = await client.post(this.#path, { asset_ids: [...this.#chosen] });
      this.#fill(info, assets);
      notices.show(t("publish.done"));
    } catch (error) {
      notices.failed(t("publish.failed"), error);
    }
  }

  async #withdraw(assets) {
    const { client, notices, t } = this.#context;
    try {
      await client.request("DELETE", this.#path);
      this.#fill({ share_id: "" }, assets);
      notices.show(t("publish.withdrawn"));
    } catch (error) {
      notices.failed(t("publish.withdrawFailed"), error);
    }
  }
}
