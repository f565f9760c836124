/** Elements. Untrusted text (names, prompts) is only ever put into text nodes and attributes, never into markup. */

/**
 * A child of an element. The values null, undefined and false are left out.
 * @typedef {string | Node | null | undefined | false} Child
 */

/**
 * The value of an attribute. True is an empty attribute; null, undefined and false leave the attribute out.
 * @typedef {string | number | boolean | null | undefined} AttributeValue
 */

/**
 * Attributes by name. Names that begin with "on" are listeners, `dataset` holds data attributes.
 * @typedef {{
 *   dataset?: Record<string, string>,
 *   onclick?: (event: MouseEvent) => unknown,
 *   onchange?: (event: Event) => unknown,
 *   [name: string]: AttributeValue | Record<string, string> | ((event: MouseEvent) => unknown) | undefined,
 * }} Attributes
 */

/**
 * Create an element: `h("button", { class: "ca-button", onclick: save }, "Save")`.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  setChildren(element, ...children);
  return element;
}

/**
 * @param {HTMLElement} element
 * @param {string} name
 * @param {Attributes[string]} value
 */
function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (typeof value === "function") element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
  else if (typeof value === "object") Object.assign(element.dataset, value);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/**
 * Replace an element's children.
 *
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function setChildren(element, ...children) {
  element.replaceChildren(...children.flat().filter(isShown));
}

/**
 * @param {Child} child
 * @returns {child is string | Node}
 */
function isShown(child) {
  return child !== null && child !== undefined && child !== false;
}

/** Return the language and direction of the panel as attributes, for its elements elsewhere in the page. */
export function panelLanguage() {
  const root = document.querySelector(".ca-root");
  return { lang: root?.getAttribute("lang"), dir: root?.getAttribute("dir") };
}

let counter = 0;

/**
 * Return an id that no other element of the page has.
 *
 * @param {string} prefix
 */
export function uniqueId(prefix) {
  counter += 1;
  return `ca-${prefix}-${counter}`;
}

/**
 * Return a function that calls `action` once `delay` milliseconds have passed since its last call.
 *
 * @param {() => unknown} action
 * @param {number} delay
 */
export function debounce(action, delay) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  };
}
