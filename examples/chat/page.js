// Small helpers for the page. They take texts and never HTML.

export const byId = (id) => document.getElementById(id);

/** Makes an element; false and null children are left out. */
export function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child));
  return made;
}

export const button = (textContent, onclick, className = "") =>
  element("button", { type: "button", textContent, onclick, className });

export const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

export const fileSize = (bytes) => bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

export const isNear = (list) => list.scrollHeight - list.scrollTop - list.clientHeight < 80;

export const ask = (question) => prompt(question)?.trim();

let timer;
export function notify(text) {
  const notice = byId("notice");
  Object.assign(notice, { textContent: text, hidden: false });
  clearTimeout(timer);
  timer = setTimeout(() => notice.hidden = true, 6000);
}

// What a handler could not do: the text of the error says what to do.
addEventListener("unhandledrejection", ({ reason }) => notify(reason?.message ?? String(reason)));
