/** A link that signs a user in once: as a QR code for a phone, and as an address to copy. */

/** @import { LoginLink } from "../api.d.ts" */
/** @import { PanelContext } from "../types.d.ts" */

import { button, select } from "../shared/buttons.mjs";
import { copyText } from "../shared/clipboard.mjs";
import { h, setChildren } from "../shared/dom.mjs";
import { time } from "../shared/format.mjs";
import { addressesForOthers, isLocalName } from "../shared/network.mjs";
import { qrMatrix } from "./qr_code.mjs";

const SVG = "http://www.w3.org/2000/svg";
const QUIET_ZONE = 4; // modules around the code, which readers need

/**
 * Create the view of a link.
 *
 * @param {PanelContext} context
 * @param {LoginLink} link
 * @param {string} hint for whom it is, and until when
 */
export function loginLink(context, link, hint) {
  const { network, page, t } = context;
  // The path stands below the root of the server, which a proxy may have moved.
  const root = new URL(page.url("/"), location.href).href.replace(/\/api\/?$/, "");
  const { href, hostname } = new URL(root + link.path);
  const others = addressesForOthers(href, network.place);
  const image = h("div", { class: "ca-login-code", role: "img", "aria-label": t("account.code") });
  const address = h("code", { class: "ca-login-address" });
  const show = (/** @type {string} */ text) => {
    address.textContent = text;
    setChildren(image, qrImage(text));
  };
  show(others[0] ?? href);
  const choices = [...others, href].map((each) => /** @type {const} */ ([each, new URL(each).host]));
  return h(
    "div",
    { class: "ca-login-link" },
    h("p", {}, hint),
    image,
    address,
    h(
      "div",
      { class: "ca-account-buttons" },
      others.length > 0 && select(t("publish.addresses"), choices, others[0], show),
      button("copy", t("publish.copy"), () => copyText(context, address.textContent ?? href, t("publish.copied"))),
    ),
    isLocalName(hostname) && others.length === 0 && h("p", { class: "ca-muted" }, t("publish.onlyHere")),
  );
}

/**
 * Return until when a link works, as a time.
 *
 * @param {PanelContext} context
 * @param {LoginLink} link
 */
export function validUntil({ language }, link) {
  return time(link.expires_at, language);
}

/**
 * Draw a QR code, dark on light whatever the theme: many readers know no other.
 *
 * @param {string} text
 */
function qrImage(text) {
  const matrix = qrMatrix(text);
  const size = matrix.length + 2 * QUIET_ZONE;
  const path = matrix.flatMap((row, y) =>
    row.flatMap((isDark, x) => isDark ? [`M${x + QUIET_ZONE} ${y + QUIET_ZONE}h1v1h-1z`] : [])
  );
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  svg.setAttribute("shape-rendering", "crispEdges");
  svg.setAttribute("aria-hidden", "true");
  const modules = document.createElementNS(SVG, "path");
  modules.setAttribute("d", path.join(""));
  svg.append(modules);
  return svg;
}
