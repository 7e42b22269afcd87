// Small parts that every screen uses. Text of people reaches the page as text nodes only.

import { config } from "./client.js";
import { useAct, useLoad } from "./state.js";
import { h, htm, useEffect, useId, useRef, useState } from "./vendor/libraries.js";

export const html = htm.bind(h);

const SHORT = /^(?:[^\n]*\n){0,24}[^\n]*/; // lines of a message that are shown at once,
const FEW = 1500; // and characters
const PARTS = /(https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]]|<@[0-9a-f-]{36}>|<!channel>)/;

const format = (options) => new Intl.DateTimeFormat(undefined, options);
const FULL = format({ dateStyle: "full", timeStyle: "medium" });
const DAY = format({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
const CLOCK = format({ hour: "2-digit", minute: "2-digit" });
const DATE = format({ day: "numeric", month: "short" });
const OLD = format({ day: "numeric", month: "short", year: "numeric" });
const BOTH = format({ dateStyle: "medium", timeStyle: "short" });

const dayOf = (value) => new Date(value).toDateString();

/** A time in the zone of the user: the clock today, else the date. `both` shows date and clock, `clock` the clock. */
export function Time({ value, both, clock }) {
  const time = new Date(value);
  if (!value || Number.isNaN(time.getTime())) return null;
  const today = new Date();
  const isToday = time.toDateString() === today.toDateString();
  const short = clock || isToday ? CLOCK : time.getFullYear() === today.getFullYear() ? DATE : OLD;
  return html`<time dateTime=${time.toISOString()} title=${FULL.format(time)}>${(both ? BOTH : short).format(time)}
    </time>`;
}

/** A line with the date, where a day begins. */
export function Day({ value, before }) {
  if (before && dayOf(before) === dayOf(value)) return null;
  return html`<p class="day"><span>${DAY.format(new Date(value))}</span></p>`;
}

/** What a person wrote: links and mentions become elements, all else stays text. */
export function Text({ text = "", names }) {
  const [isWhole, setWhole] = useState(false);
  const few = text.slice(0, FEW).match(SHORT)[0].replace(/[\ud800-\udbff]$/, "");
  const shown = isWhole ? text : few;
  const parts = shown.split(PARTS).map((part, place) => {
    if (place % 2 === 0) return part;
    if (part === "<!channel>") return html`<b class="mention">@channel</b>`;
    if (part[0] === "<") return html`<b class="mention">@${names?.get(part.slice(2, -1)) ?? "unknown"}</b>`;
    return html`<a href=${part} target="_blank" rel="noopener noreferrer">${part}</a>`;
  });
  return html`<p class="text" dir="auto">${parts}${shown !== text && "…"}</p>
    ${few !== text && html`<button class="link" onClick=${() => setWhole(!isWhole)}>
      ${isWhole ? "Show less" : `Show all ${text.length.toLocaleString()} characters`}</button>`}`;
}

/** An error as the project said it. */
export const Failure = ({ error }) => error && html`<p class="failure" role="alert">${error.message}</p>`;

/** The text of an empty list. */
export const Empty = ({ title, children }) => html`<div class="empty"><p><strong>${title}</strong></p>${children}
  </div>`;

/** The state of a load: its error, "Loading …", or nothing. */
export function Loading({ data, error }) {
  if (error) return html`<${Failure} error=${error} />`;
  return data === undefined && html`<p class="quiet" role="status">Loading …</p>`;
}

/** A labelled input; `options` makes it a select. */
export function Field({ label, hint, options, ...given }) {
  const id = useId();
  const rest = hint ? { ...given, "aria-describedby": id } : given;
  const control = options
    ? html`<select ...${rest}>${options.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select>`
    : html`<input autocomplete="off" ...${rest} />`;
  if (rest.type === "checkbox") return html`<label class="check">${control}<span>${label}</span></label>`;
  return html`<div class="field"><label><span>${label}</span>${control}</label>
    ${hint && html`<small id=${id}>${hint}</small>`}</div>`;
}

/** A form that runs `onSend(values)`, shows its error, and empties itself when it worked. */
export function Form({ action, onSend, children, class: name = "form", keep }) {
  const { act, error, isBusy } = useAct();
  async function submit(event) {
    event.preventDefault();
    const form = event.target;
    const values = Object.fromEntries(new FormData(form));
    if ((await act(() => onSend(values))) && !keep) form.reset();
  }
  return html`<form class=${name} onSubmit=${submit}>${children}
    <button class="primary" disabled=${isBusy}>${action}</button><${Failure} error=${error} /></form>`;
}

/** A button that runs `onPress` and shows the error; `confirm` asks first. */
export function Act({ children, onPress, confirm, class: name, ...rest }) {
  const { act, error, isBusy } = useAct();
  const press = () => (!confirm || globalThis.confirm(confirm)) && act(onPress);
  return html`<button class=${name} disabled=${isBusy} onClick=${press} ...${rest}>${children}</button>
    <${Failure} error=${error} />`;
}

/** A choice that is saved at once, and restored if saving fails. */
export function Pick({ label, value, options, onPick }) {
  const { act, error } = useAct();
  async function pick({ target }) {
    if (!(await act(() => onPick(target.value)))) target.value = value;
  }
  return html`<select aria-label=${label} onChange=${pick}>
    ${options.map((each) => html`<option selected=${each === value}>${each}</option>`)}</select>
    <${Failure} error=${error} />`;
}

/** A button that copies a text. */
export function Copy({ text, label }) {
  const [said, setSaid] = useState();
  async function copy() {
    const isCopied = await navigator.clipboard.writeText(text).then(() => true, () => false);
    setSaid(isCopied ? "Copied" : "Select the text and copy it");
    setTimeout(setSaid, 2000);
  }
  return html`<button onClick=${copy}>${said ?? label}</button><span class="hidden" role="status">${said}</span>`;
}

/** A secret or a link that is shown once. */
export const Once = ({ text, label, children }) => text && html`<p class="secret" role="status"><code>${text}</code>
  <${Copy} text=${text} label=${label} /><span>${children}</span></p>`;

/** A modal dialog; the browser keeps the focus in it and gives it back. */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef();
  useEffect(() => dialog.current.showModal(), []);
  return html`<dialog ref=${dialog} aria-label=${title} onClose=${onClose}>
    <header><h2>${title}</h2><button class="plain" aria-label="Close"
      onClick=${() => dialog.current.close()}>✕</button></header>${children}</dialog>`;
}

/** Former texts of a message: `load` returns { at, text } of each. */
export function Versions({ load, onClose }) {
  const found = useLoad(load, []);
  return html`<${Dialog} title="Versions of this message" onClose=${onClose}><${Loading} ...${found} />
    <ol class="versions">${found.data?.map(({ at, text }) => html`<li><${Time} value=${at} both />
      <${Text} text=${text} /></li>`)}</ol></${Dialog}>`;
}

/** Buttons behind "More", which closes when one was pressed. */
export function Menu({ children }) {
  const close = ({ currentTarget, key = "Escape" }) => {
    if (key === "Escape") currentTarget.closest("details").open = false;
  };
  return html`<details class="menu" onKeyDown=${close}><summary>More</summary><div onClick=${close}>${children}</div>
    </details>`;
}

/** The first letters of a name. */
export function Avatar({ name = "" }) {
  const letters = name.trim().split(/\s+/).slice(0, 2).map((word) => [...word][0] ?? "").join("");
  return html`<span class="avatar" aria-hidden="true"><bdi>${letters.toUpperCase() || "?"}</bdi></span>`;
}

/** A head with the name of the screen or of what is open; `back` leads to the list on narrow screens. */
export function Head({ title, back, level = 1, children }) {
  return html`<header class="head">
    ${back && html`<a class="back" href=${back} aria-label="Back">‹</a>`}
    <${`h${level}`} tabindex="-1" dir="auto">${title}</${`h${level}`}><div class="tools">${children}</div></header>`;
}

export const Section = ({ title, level = 2, children }) => html`<section aria-label=${title}>
  <${`h${level}`}>${title}</${`h${level}`}>${children}</section>`;

/** The number of unread messages, if there are any. */
export const Count = ({ number }) => number > 0 && html`<b class="count">${number > 99 ? "99+" : number}
  <span class="hidden"> unread</span></b>`;

/** An entry of a list that leads to what it names. `face` is the name for its letters; without it, it has none. */
export const Row = ({ href, isOpen, unread, name, face, time, sub, end, below, children }) => html`<li>
  <a class=${`row ${unread > 0 ? "unread" : ""}`} href=${href} aria-current=${isOpen ? "true" : null}>
  ${face !== undefined && html`<${Avatar} name=${face} />`}<span class="row-text">
    <span class="row-top"><strong><bdi>${name}</bdi></strong><${Time} value=${time} /></span>
    <span class="row-top"><span class="row-sub">${sub}</span>${end}<${Count} number=${unread} /></span>
    ${children}</span></a>${below}</li>`;

/** A table that scrolls sideways if it must. */
export const Table = ({ label, heads, children }) => html`<div class="wide" tabindex="0" role="region"
  aria-label=${label}><table><thead><tr>${heads.map((each) => html`<th>${each}</th>`)}</tr></thead>
  <tbody>${children}</tbody></table></div>`;

const KINDS = { image: "photo", sticker: "sticker", audio: "voice message", video: "video" };

function hostOf(url) {
  try {
    const { protocol, host, origin } = new URL(url);
    return /^https?:$/.test(protocol) ? { host, isOurs: origin === new URL(config.url).origin } : null;
  } catch {
    return null;
  }
}

/** A file by its URL. A file on another host is loaded only when the user asks, because that host sees the user. */
export function Media({ type, url, name }) {
  const place = hostOf(url);
  const [isShown, show] = useState(place?.isOurs);
  const [isBroken, setBroken] = useState(false);
  const kind = KINDS[type];
  if (!place) return html`<p class="quiet">A file with an address that cannot be opened.</p>`;
  const label = name ?? `${kind ?? "file"} from ${place.host}`;
  const link = html`<a class="file" href=${url} target="_blank" rel="noopener noreferrer">Open ${label}</a>`;
  if (isBroken) return html`<p class="quiet">This ${kind} cannot be loaded. ${link}</p>`;
  if (!kind) return html`<p>${link}</p>`;
  if (!isShown) return html`<p><button onClick=${() => show(true)}>Show ${label}</button></p>`;
  const common = { src: url, onError: () => setBroken(true) };
  if (type === "audio") return html`<audio controls preload="metadata" aria-label=${label} ...${common}></audio>`;
  if (type === "video") return html`<video controls preload="metadata" aria-label=${label} ...${common}></video>`;
  return html`<img class="media" alt=${label} loading="lazy" referrerpolicy="no-referrer" ...${common} />`;
}
