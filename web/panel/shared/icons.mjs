/** The panel's icons: outlines on a grid of 24, in the colour of the surrounding text. */

/** @typedef {keyof typeof PATHS} IconName */

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  audio: "M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0Zm10-2a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0Z",
  bookmark: "M7 4h10v16l-5-4-5 4z",
  back: "M15 5l-7 7 7 7",
  check: "M5 12.5l4.5 4.5L19 7.5",
  close: "M6 6l12 12M18 6L6 18",
  collection: "M4 9h16v11H4zM6.500 6h11M9 3h6",
  compare: "M12 3v18M4 6h5v12H4zM15 6h5v12h-5z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  download: "M12 4v11m-5-5l5 5 5-5M5 20h14",
  expand: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  file: "M6 3h8l5 5v13H6zM14 3v5h5",
  filter: "M3 5h18l-7 8.500v6l-4-2v-4z",
  folder: "M3 6h7l2 2.500h9V19H3z",
  forward: "M9 5l7 7-7 7",
  graph: "M3 5h6v5H3zM15 14h6v5h-6zM9 7.5h3.5v9H15",
  heart: "M12 20s-7.5-4.6-7.5-10A4.2 4.2 0 0 1 12 7.2 4.2 4.2 0 0 1 19.500 10c0 5.400-7.500 10-7.500 10Z",
  help:
    "M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18ZM9.500 9.500a2.500 2.500 0 1 1 3.700 2.200c-.8.400-1.200.900-1.200 1.800M12 16.500h.01",
  history: "M4 12a8 8 0 1 0 2.5-5.8M4 4v4h4M12 8v4.500l3 2",
  info: "M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18ZM12 11v5M12 8h.01",
  key: "M15 13a4.500 4.500 0 1 1 0-9 4.500 4.500 0 0 1 0 9ZM11.800 11.700L4 19.500V21h3v-2h2v-2h2l2-2.500M16 8h.01",
  keyboard: "M3 6h18v12H3zM7 10h.01M12 10h.01M17 10h.01M8 14h8",
  list: "M9 6h11M9 12h11M9 18h11M4.500 6h.01M4.500 12h.01M4.500 18h.01",
  minus: "M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18ZM8 12h8",
  model: "M12 3l8 4.500v9L12 21l-8-4.500v-9zM4 7.500l8 4.500 8-4.500M12 12v9",
  more:
    "M4.500 12a.7.7 0 1 0 1.400 0 .7.7 0 1 0-1.400 0ZM11.300 12a.7.7 0 1 0 1.400 0 .7.7 0 1 0-1.400 0ZM18.100 12a.7.7 0 1 0 1.400 0 .7.7 0 1 0-1.400 0Z",
  node: "M4 6h16v12H4zM4 10h16M8 14h4",
  phone: "M7 3h10v18H7zM11 18h2",
  pause: "M8 5v14M16 5v14",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9.500h.01",
  plus: "M12 5v14M5 12h14",
  play: "M7 4.500l12 7.500-12 7.500z",
  refresh: "M20 12a8 8 0 1 1-2.500-5.800M20 4v4h-4",
  search: "M11 18a7 7 0 1 1 0-14 7 7 0 0 1 0 14ZM16 16l4.500 4.500",
  sidebar: "M4 5h16v14H4zM10 5v14M6.500 9h1M6.500 12h1",
  share: "M12 15V4m-4 4l4-4 4 4M5 12v8h14v-8",
  solid: "M12 3l9 13.500-9 4.500-9-4.500zM12 3v18",
  star: "M12 3.500l2.600 5.400 5.900.8-4.300 4.100 1 5.900L12 16.900l-5.200 2.800 1-5.900L3.500 9.700l5.900-.8z",
  signOut: "M14 4H5v16h9M10 12h11m-4-4l4 4-4 4",
  stack: "M4 9h12v11H4zM8 9V5h12v11h-4",
  stop: "M6 6h12v12H6z",
  tag: "M4 4h7.500L20 12.500 12.500 20 4 11.500zM8 8h.01",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
  undo: "M9 7L4 12l5 5M4 12h10a6 6 0 0 1 6 6",
  upload: "M12 16V5m-5 5l5-5 5 5M5 20h14",
  user: "M12 12a4 4 0 1 1 0-8 4 4 0 0 1 0 8ZM4.500 20.500c.5-4 3.600-6 7.500-6s7 2 7.500 6",
  users:
    "M9 11.500a3.500 3.500 0 1 1 0-7 3.500 3.500 0 0 1 0 7ZM2.500 19.500c.4-3.300 3-5 6.500-5s6.100 1.700 6.500 5M16 5a3.300 3.300 0 0 1 0 6.300M18 14.900c2 .6 3.300 2.200 3.500 4.600",
  video: "M4 6h11v12H4zM15 10l5-3v10l-5-3",
  zoom: "M11 18a7 7 0 1 1 0-14 7 7 0 0 1 0 14ZM16 16l4.500 4.500M8 11h6M11 8v6",
  warning: "M12 4l9 16H3zM12 10v4M12 17h.01",
};

/**
 * Create an icon. Screen readers skip it: the element that holds it has the name.
 *
 * @param {IconName} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "ca-icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
