// The look of the page. It shows texts of people as text, never as HTML, and does not use Threadline.

export const byId = (id) => document.getElementById(id);

/** Makes an element; false, null and empty children are left out. */
export function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child));
  return made;
}

export const button = (textContent, onclick, className = "") =>
  element("button", { type: "button", textContent, onclick, className });

const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const fileSize = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
const authorOf = (message) => message.user_id ?? message.ai_twin_id;

let timer;
export function notify(text) {
  Object.assign(byId("notice"), { textContent: text, hidden: false });
  clearTimeout(timer);
  timer = setTimeout(() => (byId("notice").hidden = true), 6000);
}
// Shows the error of a handler; its text says what to do.
addEventListener("unhandledrejection", ({ reason }) => notify(reason?.message ?? String(reason)));

const nameAndTime = (message) => [
  element("strong", { textContent: message.display_name ?? "Deleted user" }),
  element("time", { textContent: clock(message.created_at), dateTime: message.created_at }),
];

/** The text of a snippet, with its marked words. A parsed document runs nothing, and only its texts are taken. */
export const marked = (snippet) =>
  [...new DOMParser().parseFromString(snippet, "text/html").body.childNodes].map(({ nodeName, textContent }) =>
    nodeName === "MARK" ? element("mark", { textContent }) : textContent);

export const excerpt = (message, ...more) =>
  element("li", {}, ...nameAndTime(message), element("p", { dir: "auto" }, ...[message.content].flat()), ...more);

export const channelEntry = (name, unread, isOpen, onOpen) =>
  element("li", { className: isOpen ? "open" : "" }, button(name, onOpen),
    unread > 0 && element("b", { textContent: unread > 99 ? "99+" : unread }));

export const memberEntry = (name, role, isPresent, ...more) =>
  element("li", { className: isPresent ? "present" : "" },
    element("strong", { textContent: name }), element("small", { textContent: role }), ...more);

const isAtEnd = (list) => list.scrollHeight - list.scrollTop - list.clientHeight < 80;

/** Shows messages in their order and stays at the end, if the reader is there. */
export function showMessages(list, messages, options) {
  const wasAtEnd = options.toEnd || isAtEnd(list);
  const sorted = [...messages.values()].sort((one, other) => one.seq - other.seq);
  list.replaceChildren(...sorted.map((message, place) => messageEntry(message, sorted[place - 1], options)));
  if (wasAtEnd) list.scrollTop = list.scrollHeight;
}

// The end also stays in sight when the form below it grows.
let staysAtEnd = true;
byId("messages").addEventListener("scroll", ({ target }) => (staysAtEnd = isAtEnd(target)));
new ResizeObserver(([{ target }]) => staysAtEnd && (target.scrollTop = target.scrollHeight)).observe(byId("messages"));

function messageEntry(message, previous, { me, emojis, react, pin, edit, remove, openThread, download }) {
  const isPinned = message.metadata?.pinned;
  const isNext = previous && authorOf(previous) === authorOf(message) && previous.reply_count === 0
    && new Date(message.created_at) - new Date(previous.created_at) < 300_000;
  const replies = `${message.reply_count} ${message.reply_count === 1 ? "reply" : "replies"}`;
  return element("li", { className: `message ${isNext ? "next" : ""} ${isPinned ? "pinned" : ""}` },
    ...(isNext ? [] : nameAndTime(message)),
    element("p", { textContent: message.content, dir: "auto" },
      message.edited_at && element("small", { textContent: " (edited)" })),
    ...(message.attachments ?? []).map((file) => fileEntry(file, download)),
    element("div", { className: "reactions" },
      ...message.reactions.map(({ emoji, user_ids }) => button(`${emoji} ${user_ids.length}`,
        () => react(message, emoji), user_ids.includes(me) ? "mine" : "")),
      message.reply_count > 0 && button(replies, () => openThread(message), "thread")),
    element("div", { className: "actions" },
      ...emojis.map((emoji) => button(emoji, () => react(message, emoji))),
      !message.thread_id && button("Reply", () => openThread(message)),
      button(isPinned ? "Unpin" : "Pin", () => pin(message, !isPinned)),
      message.user_id === me && button("Edit", () => edit(message)),
      message.user_id === me && button("Delete", () => remove(message))));
}

const fileEntry = (file, download) =>
  file.path
    ? button(`${file.name} · ${fileSize(file.size)}`, () => download(file), "file")
    : element("span", { className: "file", textContent: "A file that is gone" });

/** A form to write in. What send(text, files, draft) cannot send comes back, to be sent again as the same draft. */
export function showComposer(place, label, { send, typing }) {
  place.querySelector(".composer")?.remove();
  const form = byId("composer").content.firstElementChild.cloneNode(true);
  const { content, files } = form.elements;
  let draft, chosen;
  let sending = Promise.resolve();
  const show = (text = "", kept = [], of = {}) => {
    [content.value, chosen, draft] = [text, kept, of];
    files.value = "";
    form.querySelector(".cancel").hidden = !of.edits;
    form.querySelector(".files").replaceChildren(...kept.map((file) => element("li", { textContent: file.name })));
  };
  show();
  content.setAttribute("aria-label", label);
  content.placeholder = label;
  content.oninput = typing;
  content.onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  };
  files.onchange = () => show(content.value, [...files.files], draft);
  form.querySelector(".cancel").onclick = () => show();
  form.onsubmit = async (event) => {
    event.preventDefault();
    const sent = [content.value.trim() || chosen.map((file) => file.name).join(", "), chosen, draft];
    if (!sent[0]) return;
    show();
    sending = sending.catch(() => {}).then(() => send(...sent));
    await sending.catch((error) => {
      if (!content.value) show(...sent);
      throw error;
    });
  };
  form.edit = (message) => {
    show(message.content, [], { edits: message.id });
    content.focus();
  };
  place.append(form);
  return form;
}

export function showPanel(title, ...items) {
  byId("panel").querySelector(".composer")?.remove();
  byId("panel").hidden = false;
  byId("panel-title").textContent = title;
  byId("panel-list").replaceChildren(...items);
}
