/** The models and input files that a workflow needs: present, present under another name, or missing. */

/** @import { Requirement, RequirementMatch, Requirements, Workflow } from "../api.d.ts" */
/** @import { Child } from "../shared/dom.mjs" */
/** @import { IconName } from "../shared/icons.mjs" */
/** @import { PanelContext } from "../types.d.ts" */
/** @import { WorkflowActions } from "./workflow_actions.mjs" */

import { h, setChildren } from "../shared/dom.mjs";
import { button } from "../shared/buttons.mjs";
import * as format from "../shared/format.mjs";
import { icon } from "../shared/icons.mjs";
import { errorPlaceholder } from "../shared/placeholders.mjs";

/** @type {Record<Requirement["status"], IconName>} */
const ICONS = { present: "check", elsewhere: "refresh", missing: "warning" };
const KINDS = /** @type {const} */ (["model", "input"]);

export class RequirementsSection {
  #context;
  #actions;
  #workflow;
  #onChange;

  /**
   * @param {PanelContext} context
   * @param {WorkflowActions} actions
   * @param {Workflow} workflow
   * @param {() => unknown} onChange called after a version was saved
   */
  constructor(context, actions, workflow, onChange) {
    this.#context = context;
    this.#actions = actions;
    this.#workflow = workflow;
    this.#onChange = onChange;
    this.element = h("div", { class: "ca-requirements" });
  }

  /** Show what the latest version needs; nothing if it names no files. */
  async show() {
    const { client, t } = this.#context;
    try {
      this.#showContent(await client.get(`/workflows/${this.#workflow.id}/requirements`));
    } catch (error) {
      setChildren(this.element, errorPlaceholder(t, error, () => this.show()));
    }
  }

  /** @param {Requirements} found */
  #showContent({ requirements }) {
    setChildren(
      this.element,
      KINDS.map((kind) => this.#section(kind, requirements.filter((each) => each.kind === kind))),
    );
  }

  /**
   * @param {Requirement["kind"]} kind
   * @param {Requirement[]} found
   */
  #section(kind, found) {
    if (found.length === 0) return null;
    const { t } = this.#context;
    const sure = found.filter((each) => sameContent(each) !== undefined);
    const all = t("requirements.useAll", { count: sure.length });
    return h(
      "section",
      { class: "ca-section" },
      h("h4", {}, t(`requirements.${kind}`)),
      h("p", { class: "ca-muted" }, this.#summary(found)),
      sure.length > 1 && button("refresh", all, () => this.#relink(sure.map((each) => [each, sameContent(each)]))),
      h("ul", { class: "ca-requirement-list" }, found.map((each) => this.#row(each))),
    );
  }

  /** @param {Requirement[]} found */
  #summary(found) {
    const { t, language } = this.#context;
    const parts = /** @type {const} */ (["missing", "elsewhere", "present"]).map((status) => {
      const count = found.filter((each) => each.status === status).length;
      return count > 0 && t(`requirements.count.${status}`, { count });
    });
    return format.line(parts, language);
  }

  /** @param {Requirement} found */
  #row(found) {
    const { t, language } = this.#context;
    const { name, status, asset, size, category } = found;
    const open = () => asset && this.#context.openAsset(asset.id);
    const facts = [this.#state(found), category, size !== undefined && format.bytes(size, language)];
    const label = asset ? h("button", { class: "ca-requirement-open", type: "button", onclick: open }, name) : name;
    return h(
      "li",
      { class: "ca-requirement", dataset: { status } },
      icon(ICONS[status]),
      h("div", { class: "ca-requirement-name" }, label),
      status !== "present" && h(
        "div",
        { class: "ca-requirement-rest" },
        h("div", { class: "ca-muted" }, format.line(facts, language)),
        found.matches.filter((match) => match.value !== undefined).map((match) => this.#useButton(found, match)),
        found.links.map((address) => link(t("requirements.source"), address)),
      ),
    );
  }

  /** @param {Requirement} found */
  #state({ status, matches: [match] }) {
    const { t } = this.#context;
    if (status === "missing" || match === undefined) return t("requirements.missing");
    const path = match.asset.file_path ?? match.asset.name;
    if (match.match === "name") return t("requirements.sameName", { path });
    return t(match.value === undefined ? "requirements.otherFolder" : "requirements.otherName", { path });
  }

  /**
   * @param {Requirement} found
   * @param {RequirementMatch} match
   */
  #useButton(found, match) {
    const { t } = this.#context;
    return button("refresh", t("requirements.use", { name: match.value ?? "" }), () => this.#relink([[found, match]]));
  }

  /** @param {[Requirement, RequirementMatch | undefined][]} chosen */
  async #relink(chosen) {
    const links = chosen.flatMap(([{ name, stated_category: category }, match]) =>
      match === undefined ? [] : [{ name, category, asset_id: match.asset.id }]
    );
    if (await this.#actions.relink(this.#workflow, links, () => this.#onChange())) this.#onChange();
  }
}

/**
 * Return an asset that has the content which the workflow needs, and which its nodes can load.
 *
 * @param {Requirement} found
 */
function sameContent({ matches }) {
  return matches.find(({ match, value }) => match === "hash" && value !== undefined);
}

/**
 * Create a link to a page of the web; the server passes on no other addresses.
 *
 * @param {string} label
 * @param {string} address
 * @returns {Child}
 */
function link(label, address) {
  if (!/^https?:\/\//i.test(address)) return null;
  const attributes = { class: "ca-link", href: address, target: "_blank", rel: "noopener noreferrer" };
  return h("div", { class: "ca-requirement-link" }, `${label} `, h("a", attributes, address));
}
