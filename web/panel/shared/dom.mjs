/** Elements. Text that comes from elsewhere (names, prompts) is only ever put into text nodes and attributes. */

/**
 * Make an element: `h("button", { class: "ca-button", onclick: save }, "Save")`.
 * Names that begin with "on" are listeners, `dataset` and `style` are objects, true is an empty attribute,
 * and null, undefined and false leave an attribute out.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "dataset") Object.assign(element.dataset, value);
  else if (name === "style") { for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one); }
  else element.setAttribute(name, value === true ? "" : value);
}

/** Replace an element's children; those that are null, undefined or false are left out. */
export function setChildren(element, ...children) {
  element.replaceChildren(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
}

let counter = 0;

/** An id that no other element has. */
export function uniqueId(prefix) {
  counter += 1;
  return `ca-${prefix}-${counter}`;
}

/** Call `action` once `delay` milliseconds after the last call. */
export function debounce(action, delay) {
  let timer = 0;
  const call = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...args), delay);
  };
  call.cancel = () => clearTimeout(timer);
  return call;
}
