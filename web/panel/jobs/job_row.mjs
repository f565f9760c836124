/** A job in the list. */

import { h } from "../shared/dom.mjs";
import { icon } from "../shared/icons.mjs";
import { nameOf, previewUrl, summary } from "./job.mjs";

const SIGNS = { pending: "history", in_progress: "play", completed: "check", failed: "warning", cancelled: "stop" };

/** An empty row; it is filled again and again. */
export function createRow() {
  const parts = {
    sign: h("span", { class: "ca-job-sign" }),
    picture: h("img", { class: "ca-job-picture", alt: "", decoding: "async", draggable: "false" }),
    name: h("div", { class: "ca-name" }),
    facts: h("div", { class: "ca-facts" }),
    state: h("span", { class: "ca-badge" }),
    bar: h("progress", { max: "1", "aria-hidden": "true" }),
  };
  parts.picture.addEventListener("error", () => (parts.picture.hidden = true));
  const thumb = h("div", { class: "ca-job-thumb" }, parts.sign, parts.picture);
  const row = h("div", {}, h("div", { class: "ca-card ca-job" }, thumb, parts.name, parts.state, parts.facts, parts.bar));
  row.parts = parts;
  return row;
}

/** Show a job; `live` is how far it is, if that is known. */
export function fillRow(row, job, live, context) {
  const { t, page } = context;
  const { parts } = row;
  row.classList.toggle("ca-waiting", job === undefined);
  row.setAttribute("aria-selected", "false");
  if (job === undefined) {
    row.removeAttribute("aria-label");
    parts.name.textContent = parts.facts.textContent = parts.state.textContent = "";
    parts.picture.hidden = parts.bar.hidden = true;
    return;
  }
  const state = t(`job.state.${job.status}`);
  row.dataset.state = job.status;
  parts.name.textContent = nameOf(job, t);
  parts.state.textContent = state;
  parts.facts.textContent = job.execution_error?.exception_message?.trim() || liveText(job, live, context);
  parts.sign.replaceChildren(icon(SIGNS[job.status]));
  row.setAttribute("aria-label", `${nameOf(job, t)}, ${state}, ${parts.facts.textContent}`);
  showPicture(parts.picture, previewUrl(page, job));
  parts.bar.hidden = job.status !== "in_progress";
  if (live?.max > 0) parts.bar.value = live.value / live.max;
  else parts.bar.removeAttribute("value");
}

function liveText(job, live, context) {
  if (job.status !== "in_progress" || !live?.node) return summary(job, context);
  const { t } = context;
  const step = live.max > 1 ? t("job.step", { value: Math.round(live.value), max: live.max }) : "";
  return [context.nodeTitle(job, live.node), step].filter(Boolean).join(" · ");
}

function showPicture(picture, url) {
  picture.hidden = url === null;
  if (picture.getAttribute("src") === url) return;
  if (url === null) picture.removeAttribute("src");
  else picture.src = url;
}
