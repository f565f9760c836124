/** Publishing a workflow: the assets it needs, which of them are published with it, and the link. */

/** @import { Asset, Publication, Workflow } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { h, setChildren } from "../shared/dom.mjs";
import { button, select } from "../shared/buttons.mjs";
import { RequestError } from "../shared/client.mjs";
import { copyText } from "../shared/clipboard.mjs";
import { icon } from "../shared/icons.mjs";
import { addressesForOthers, isLocalName } from "../shared/network.mjs";
import { isMissing, mediaKind } from "../library/asset.mjs";

const FETCH_BATCH = 20; // requests at a time

export class PublishSection {
  #context;
  /** @type {`/userdata/${string}/publish` | null} */
  #path;
  /** @type {Set<string>} ids of the assets to publish */
  #chosen = new Set();
  /** Whether whoever knows the id may read it without signing in; null while the login is off. */
  #isOpen = /** @type {boolean | null} */ (null);

  /**
   * @param {PanelContext} context
   * @param {Workflow} workflow
   */
  constructor(context, workflow) {
    this.#context = context;
    // The API publishes files, as ComfyUI's page does, so a workflow without one has no path to publish.
    this.#path = workflow.path ? `/userdata/${encodeURIComponent(workflow.path)}/publish` : null;
    this.element = h("section", { class: "ca-section", hidden: true });
    /** Holds the link of a published workflow, to be shown where it is seen at once. */
    this.linkElement = h("div");
  }

  /**
   * Show the assets that a version needs and the link. Stays hidden if the server does not publish workflows.
   *
   * @param {string[]} assetIds
   */
  async show(assetIds) {
    const [publication, isLoginOn] = await Promise.all([
      this.#fetchPublication(),
      this.#fetchLogin(),
      this.#context.network.ready,
    ]);
    if (publication === undefined) return;
    if (isLoginOn) this.#isOpen = publication?.open ?? false;
    const assets = await this.#fetchAssets(assetIds);
    for (const asset of assets) if (!isMissing(asset)) this.#chosen.add(asset.id);
    this.#showContent(publication, assets);
    this.element.hidden = false;
  }

  async #fetchLogin() {
    try {
      return (await this.#context.client.get("/features"))?.login_enabled ?? false;
    } catch {
      return false; // the share then stays as open as it is
    }
  }

  /** Return the publication: null for a workflow without a file, undefined if the server does not publish. */
  async #fetchPublication() {
    if (this.#path === null) return null;
    try {
      return await this.#context.client.get(this.#path);
    } catch (error) {
      return error instanceof RequestError && error.code === "WORKFLOW_NOT_FOUND" ? null : undefined;
    }
  }

  /**
   * Return the assets that are in the library.
   *
   * @param {string[]} ids
   */
  async #fetchAssets(ids) {
    const { client } = this.#context;
    /** @type {Asset[]} */
    const assets = [];
    for (let from = 0; from < ids.length; from += FETCH_BATCH) {
      const batch = ids.slice(from, from + FETCH_BATCH);
      const results = await Promise.allSettled(batch.map((id) => client.get(`/assets/${id}`)));
      for (const result of results) if (result.status === "fulfilled") assets.push(result.value);
    }
    return assets;
  }

  /**
   * @param {Publication | null} publication
   * @param {Asset[]} assets
   */
  #showContent(publication, assets) {
    const { t } = this.#context;
    const intro = assets.length === 0
      ? h("p", { class: "ca-muted" }, t("publish.noDependencies"))
      : h("p", {}, t("publish.dependencies"));
    setChildren(this.linkElement, publication?.share_id ? this.#link(publication.share_id, assets) : null);
    setChildren(
      this.element,
      h("h4", {}, t("publish.title")),
      intro,
      h("ul", { class: "ca-dependencies" }, assets.map((asset) => h("li", {}, this.#row(asset)))),
      publication !== null && this.#isOpen !== null && this.#openChoice(this.#isOpen),
      publication === null
        ? h("p", { class: "ca-muted" }, t("publish.needsFile"))
        : button("share", t(publication.share_id ? "publish.again" : "publish.publish"), () => this.#publish(assets)),
    );
  }

  /** @param {boolean} isOpen */
  #openChoice(isOpen) {
    const checkbox = h("input", { type: "checkbox", checked: isOpen });
    checkbox.addEventListener("change", () => (this.#isOpen = checkbox.checked));
    return h("label", { class: "ca-publish-open" }, checkbox, this.#context.t("publish.open"));
  }

  /** @param {Asset} asset */
  #row(asset) {
    const { t } = this.#context;
    const missing = isMissing(asset);
    const note = h("span", { class: "ca-muted" });
    const checkbox = h("input", { type: "checkbox", checked: this.#chosen.has(asset.id), disabled: missing });
    const show = () => {
      note.textContent = checkbox.checked ? "" : t(missing ? "publish.fileMissing" : "publish.notIncluded");
    };
    checkbox.addEventListener("change", () => {
      if (checkbox.checked) this.#chosen.add(asset.id);
      else this.#chosen.delete(asset.id);
      show();
    });
    show();
    const name = h("span", { class: "ca-dependency-name" }, asset.name);
    return h("label", { class: "ca-dependency" }, checkbox, icon(mediaKind(asset)), name, note);
  }

  /**
   * @param {string} shareId
   * @param {Asset[]} assets
   */
  #link(shareId, assets) {
    const { t } = this.#context;
    // Beside this page, which may be the panel's own: ComfyUI's page opens the link.
    const { href, hostname } = new URL(`./?share=${encodeURIComponent(shareId)}`, location.href);
    const others = addressesForOthers(href, this.#context.network.place);
    const code = h("code", {}, others[0] ?? href);
    const copy = () => copyText(this.#context, code.textContent ?? href, t("publish.copied"));
    const unpublish = button("stop", t("publish.unpublish"), () => this.#unpublish(assets), { kind: "ca-danger" });
    const choices = [...others, href].map((address) => /** @type {const} */ ([address, new URL(address).host]));
    return h(
      "div",
      { class: "ca-share-link" },
      code,
      others.length > 0 &&
        select(t("publish.addresses"), choices, others[0], (address) => (code.textContent = address)),
      button("copy", t("publish.copy"), copy),
      unpublish,
      isLocalName(hostname) &&
        h("p", { class: "ca-muted" }, t(others.length > 0 ? "publish.here" : "publish.onlyHere")),
    );
  }

  /** @param {Asset[]} assets */
  async #publish(assets) {
    const { client, notifications, t } = this.#context;
    if (this.#path === null) return;
    try {
      const open = this.#isOpen === null ? {} : { open: this.#isOpen };
      const publication = await client.post(this.#path, { asset_ids: [...this.#chosen], ...open });
      this.#showContent(publication, assets);
      notifications.show(t("publish.published"));
    } catch (error) {
      notifications.error(t("publish.failed"), error);
    }
  }

  /** @param {Asset[]} assets */
  async #unpublish(assets) {
    const { client, notifications, t } = this.#context;
    if (this.#path === null) return;
    try {
      await client.request("DELETE", this.#path);
      this.#showContent({ share_id: "" }, assets);
      notifications.show(t("publish.unpublished"));
    } catch (error) {
      notifications.error(t("publish.unpublishFailed"), error);
    }
  }
}
