// The small parts of all screens, and what they show for each value.

import { connect } from "../client.js";
import * as ui from "../ui.js";
import { checking, draw, later, show } from "./check.js";

const { html } = ui;
const clean = (box) => box.innerHTML.replace(/\s+/g, " ").replace(/ (?=<)|(?<=>) /g, "");
const markup = async (what) => clean(await show(what));
const text = async (what) => (await show(what)).textContent.replace(/\s+/g, " ").trim();

export async function times() {
  const { check, wrong } = checking();
  // It is 21:00 on Monday, 15 June 2026, in Tokyo.
  for (const [value, right, both, day] of [
    ["2026-06-15T11:05:00Z", "20:05", "15 Jun 2026, 20:05", "Monday 15 June 2026"],
    ["2026-06-14T15:00:00Z", "00:00", "15 Jun 2026, 00:00", "Monday 15 June 2026"],
    ["2026-06-14T14:59:00Z", "14 Jun", "14 Jun 2026, 23:59", "Sunday 14 June 2026"],
    ["2026-06-15T15:00:00Z", "16 Jun", "16 Jun 2026, 00:00", "Tuesday 16 June 2026"],
    ["2025-12-31T15:00:00Z", "1 Jan", "1 Jan 2026, 00:00", "Thursday 1 January 2026"],
    ["2025-12-31T14:59:00Z", "31 Dec 2025", "31 Dec 2025, 23:59", "Wednesday 31 December 2025"],
    ["2025-06-15T11:05:00Z", "15 Jun 2025", "15 Jun 2025, 20:05", "Sunday 15 June 2025"],
  ]) {
    check(`time ${value}`, await text(html`<${ui.Time} value=${value} />`), right);
    check(`both ${value}`, await text(html`<${ui.Time} value=${value} both />`), both);
    check(`clock ${value}`, await text(html`<${ui.Time} value=${value} clock />`), both.slice(-5));
    check(`day ${value}`, (await text(html`<${ui.Day} value=${value} />`)).replace(",", ""), day);
  }
  const box = await show(html`<${ui.Time} value="2026-06-15T20:05:00+09:00" />`);
  const { dateTime, title } = box.firstChild;
  check("attributes", [dateTime, title.replace(",", "")], ["2026-06-15T11:05:00.000Z", "Monday 15 June 2026 at 20:05:00"]);
  for (const value of [null, undefined, "", "soon"]) check(`no time ${value}`, await markup(html`<${ui.Time} value=${value} />`), "");
  for (const [before, value, isNew] of [
    ["2026-06-14T14:59:00Z", "2026-06-14T15:00:00Z", true],
    ["2026-06-14T15:00:00Z", "2026-06-15T14:59:00Z", false],
    ["2025-06-15T11:00:00Z", "2026-06-15T11:00:00Z", true],
  ]) check(`day after ${before}`, (await markup(html`<${ui.Day} value=${value} before=${before} />`)) !== "", isNew);
  return wrong;
}

const ID = "00000000-0000-4000-8000-000000000001";
const link = (href) => `<a href="${href}" target="_blank" rel="noopener noreferrer">${href}</a>`;

export async function texts() {
  const { check, wrong } = checking();
  const names = new Map([[ID, "Ann"]]);
  for (const [given, right] of [
    ["plain <b>text</b>", "plain &lt;b&gt;text&lt;/b&gt;"],
    [`<@${ID}>, <@${ID.replace("1", "2").slice(0, 35)}9> <!channel>`,
      '<b class="mention">@Ann</b>,<b class="mention">@unknown</b><b class="mention">@channel</b>'],
    ["see http://a.test/b?c=1&d=2.", `see${link("http://a.test/b?c=1&amp;d=2")}.`],
    ["(https://a.test/x), https://b.test!", `(${link("https://a.test/x")}),${link("https://b.test")}!`],
    ['"https://a.test/x" ftp://a.test javascript:x', `"${link("https://a.test/x")}" ftp://a.test javascript:x`],
    ["<https://a.test/x>: https://a.test/y; 'https://a.test/z' https://a.test/v:",
      `&lt;${link("https://a.test/x")}&gt;:${link("https://a.test/y")}; '${link("https://a.test/z")}'${link("https://a.test/v")}:`],
    ["https://a.test/x'y", `${link("https://a.test/x")}'y`],
    ["https://a.test/[1]?", `${link("https://a.test/[1")}]?`],
    ["", ""],
  ]) check(`text ${given}`, await markup(html`<${ui.Text} text=${given} names=${names} />`), `<p class="text" dir="auto">${right}</p>`);
  check("no names", await markup(html`<${ui.Text} text=${`<@${ID}>`} />`),
    '<p class="text" dir="auto"><b class="mention">@unknown</b></p>');
  check("no text", await markup(html`<${ui.Text} />`), '<p class="text" dir="auto"></p>');
  const count = async (given) => (await show(html`<${ui.Text} text=${given} />`)).querySelector(".text").textContent.length;
  const lines = (number) => Array(number).fill("x").join("\n");
  check("lines and characters", [await count(lines(25)), await count(lines(26)), await count("x".repeat(1500)), await count("x".repeat(1501))],
    [49, 50, 1500, 1501]);
  check("no half of a pair", (await count("x".repeat(1499) + "😀y")), 1500);
  const box = await show(html`<${ui.Text} text=${"x".repeat(2000)} />`);
  const button = () => box.querySelector("button");
  const shown = [button().textContent.trim(), box.querySelector(".text").textContent.slice(-2)];
  check("part", shown, ["Show all 2,000 characters", "x…"]);
  button().click();
  await project.settle();
  check("whole", [button().textContent.trim(), box.querySelector(".text").textContent.length], ["Show less", 2000]);
  button().click();
  await project.settle();
  check("part again", button().textContent.trim(), "Show all 2,000 characters");
  return wrong;
}

export async function shapes() {
  const { check, wrong } = checking();
  for (const [name, letters] of [["Ann Bee Cee", "AB"], ["  ann bee ", "AB"], ["é", "É"], ["😀 x", "😀X"], ["", "?"], ["   ", "?"]]) {
    check(`letters of ${name}`, await markup(html`<${ui.Avatar} name=${name} />`), `<span class="avatar" aria-hidden="true"><bdi>${letters}</bdi></span>`);
  }
  for (const [number, right] of [[0, ""], [undefined, ""], [1, "1 unread"], [99, "99 unread"], [100, "99+ unread"]]) {
    check(`count ${number}`, await text(html`<${ui.Count} number=${number} />`), right);
  }
  const failure = '<p class="failure" role="alert">No</p>';
  const waits = '<p class="quiet" role="status">Loading …</p>';
  check("failure", await markup(html`<${ui.Failure} error=${Error("No")} />`), failure);
  check("no failure", await markup(html`<${ui.Failure} />`), "");
  for (const [state, right] of [
    [{}, waits], [{ data: null }, ""], [{ data: [] }, ""], [{ error: Error("No") }, failure], [{ data: [], error: Error("No") }, failure],
  ]) check("loading", await markup(html`<${ui.Loading} ...${state} />`), right);
  check("row", await markup(html`<${ui.Row} href="#/a" name="Ann" sub="said" />`),
    '<li><a class="row " href="#/a"><span class="row-text"><span class="row-top"><strong><bdi>Ann</bdi></strong></span>'
    + '<span class="row-top"><span class="row-sub">said</span></span></span></a></li>');
  const row = await show(html`<${ui.Row} href="#/a" isOpen unread=${2} name="Ann" face="Bea" time="2026-06-15T11:05:00Z"
    sub="said" end="End" below="Below">Inside</${ui.Row}>`);
  check("row of no name", await text(html`<${ui.Row} href="#/a" name="" face="" />`), "?");
  check("open row", [row.querySelector("a").className, row.querySelector("a").getAttribute("aria-current"),
    row.textContent.replace(/\s+/g, " ").trim()], ["row unread", "true", "BAnn20:05saidEnd2 unreadInsideBelow"]);
  check("table", await markup(html`<${ui.Table} label="T" heads=${["A", ""]}><tr><td>1</td></tr></${ui.Table}>`),
    '<div class="wide" tabindex="0" role="region" aria-label="T"><table><thead><tr><th>A</th><th></th></tr></thead>'
    + "<tbody><tr><td>1</td></tr></tbody></table></div>");
  check("section", await markup(html`<${ui.Section} title="S">x</${ui.Section}>`), '<section aria-label="S"><h2>S</h2>x</section>');
  check("small section", await markup(html`<${ui.Section} title="S" level=${3}>x</${ui.Section}>`), '<section aria-label="S"><h3>S</h3>x</section>');
  check("head", await markup(html`<${ui.Head} title="H" />`), '<header class="head"><h1 tabindex="-1" dir="auto">H</h1><div class="tools"></div></header>');
  check("head with a way back", await markup(html`<${ui.Head} title="H" level=${2} back="#/x">T</${ui.Head}>`),
    '<header class="head"><a class="back" href="#/x" aria-label="Back">‹</a><h2 tabindex="-1" dir="auto">H</h2><div class="tools">T</div></header>');
  check("empty", await markup(html`<${ui.Empty} title="E"><p>more</p></${ui.Empty}>`), '<div class="empty"><p><strong>E</strong></p><p>more</p></div>');
  check("field", await markup(html`<${ui.Field} label="L" name="n" />`), '<div class="field"><label><span>L</span><input autocomplete="off" name="n"></label></div>');
  const hinted = await show(html`<${ui.Field} label="L" name="n" hint="H" autocomplete="username" />`);
  const input = hinted.querySelector("input");
  check("hint", [input.getAttribute("aria-describedby") === hinted.querySelector("small").id, input.autocomplete], [true, "username"]);
  const chosen = await show(html`<${ui.Field} label="L" name="n" value="b" options=${[["a", "A"], ["b", "B"]]} />`);
  check("options", [chosen.querySelector("select").value, chosen.textContent.replace(/\s+/g, "")], ["b", "LAB"]);
  check("check box", await markup(html`<${ui.Field} label="L" name="n" type="checkbox" />`),
    '<label class="check"><input autocomplete="off" name="n" type="checkbox"><span>L</span></label>');
  check("no secret", await markup(html`<${ui.Once} label="C">x</${ui.Once}>`), "");
  return wrong;
}

/** Buttons and forms: what they do once, when they fail, and when the user says no. */
export async function presses() {
  const { check, wrong } = checking();
  const press = async (element) => {
    element.click();
    await project.settle();
  };
  const sent = [];
  let work = later();
  const send = (values) => {
    sent.push(values);
    return work.promise;
  };
  for (const keep of [false, true]) {
    const box = await show(html`<${ui.Form} action="Go" onSend=${send} keep=${keep}><input name="a" /></${ui.Form}>`);
    const [input, button] = [box.querySelector("input"), box.querySelector("button")];
    const state = () => [input.value, button.disabled, box.querySelector("[role=alert]")?.textContent];
    check("form", [box.firstChild.className, button.className], ["form", "primary"]);
    input.value = "one";
    await press(button);
    check("busy form", [state(), sent.splice(0)], [["one", true, null], [{ a: "one" }]]);
    work.reject(Error("No"));
    await project.settle();
    check("failed form keeps its values", state(), ["one", false, "No"]);
    work = later();
    await press(button);
    work.resolve();
    await project.settle();
    check(`sent form, keep ${keep}`, state(), [keep ? "one" : "", false, null]);
    sent.length = 0;
    work = later();
  }
  const box = await show(html`<${ui.Act} class="bad" title="T" onPress=${() => send("act")}>Do</${ui.Act}>`);
  const button = box.querySelector("button");
  await press(button);
  check("button", [button.className, button.title, button.disabled, sent.splice(0)], ["bad", "T", true, ["act"]]);
  work.reject(Error("No"));
  await project.settle();
  check("failed button", [button.disabled, box.querySelector("[role=alert]").textContent], [false, "No"]);
  work = later();
  work.resolve();
  const asking = await show(html`<${ui.Act} confirm="Sure?" onPress=${() => send("sure")}>Do</${ui.Act}>`);
  project.refusesAll = true;
  await press(asking.querySelector("button"));
  check("refused", [sent.splice(0), project.alerts.splice(0)], [[], ["Sure?"]]);
  project.refusesAll = false;
  await press(asking.querySelector("button"));
  check("confirmed", [sent.splice(0), project.alerts.splice(0)], [["sure"], ["Sure?"]]);

  const pick = await show(html`<${ui.Pick} label="P" value="b" options=${["a", "b"]} onPick=${send} />`);
  const select = pick.querySelector("select");
  const choose = async (value) => {
    select.value = value;
    select.dispatchEvent(new Event("change"));
    await project.settle();
  };
  check("choice", [select.value, select.getAttribute("aria-label")], ["b", "P"]);
  await choose("a");
  check("chosen", [select.value, sent.splice(0)], ["a", ["a"]]);
  work = later();
  work.reject(Error("No"));
  await choose("a");
  check("restored", [select.value, pick.querySelector("[role=alert]").textContent], ["b", "No"]);

  for (const [hasNone, said] of [[false, "Copied"], [true, "Select the text and copy it"]]) {
    project.hasNoClipboard = hasNone;
    const once = await show(html`<${ui.Once} text="secret" label="Copy it">Why</${ui.Once}>`);
    const words = () => once.textContent.replace(/\s+/g, " ");
    check("secret", words(), "secretCopy itWhy");
    await press(once.querySelector("button"));
    check("copied", [once.querySelector("button").textContent, once.querySelector("span[role=status]").textContent], [said, said]);
    project.pass(2000);
    await project.settle();
    check("can copy again", once.querySelector("button").textContent, "Copy it");
  }
  check("in the clipboard", project.copied, ["secret"]);

  const menu = await show(html`<${ui.Menu}><button>A</button></${ui.Menu}>`);
  const details = menu.querySelector("details");
  const key = (name) => details.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  details.open = true;
  key("Tab");
  check("open menu", details.open, true);
  key("Escape");
  check("escape", details.open, false);
  details.open = true;
  menu.querySelector("button").click();
  check("pressed", details.open, false);

  const closed = [];
  const dialog = await show(html`<${ui.Dialog} title="D" onClose=${() => closed.push(1)}>x</${ui.Dialog}>`);
  const element = dialog.querySelector("dialog");
  check("modal", [element.matches(":modal"), element.getAttribute("aria-label"), element.querySelector("h2").textContent], [true, "D", "D"]);
  await press(element.querySelector("[aria-label=Close]"));
  check("closed", [closed, element.open], [[1], false]);
  return wrong;
}

/** A file of another host is loaded only when the user asks. */
export async function media() {
  const { check, wrong } = checking();
  project.config = { url: "https://project.test", key: "k" };
  await connect();
  const found = (type, url, name) => {
    const box = draw(html`<${ui.Media} type=${type} url=${url} name=${name} />`);
    const [element] = box.querySelectorAll("img, audio, video");
    return [box, element?.localName ?? null, element?.getAttribute("alt") ?? element?.getAttribute("aria-label") ?? null,
      box.textContent.replace(/\s+/g, " ").trim()];
  };
  const ours = "https://project.test/a";
  for (const [type, url, name, ...right] of [
    ["image", ours, "a.png", "img", "a.png", ""],
    ["sticker", ours, undefined, "img", "sticker from project.test", ""],
    ["audio", ours, undefined, "audio", "voice message from project.test", ""],
    ["video", ours, undefined, "video", "video from project.test", ""],
    ["file", ours, "a.pdf", null, null, "Open a.pdf"],
    ["location", ours, undefined, null, null, "Open file from project.test"],
    ["image", "https://project.test:444/a", undefined, null, null, "Show photo from project.test:444"],
    ["image", "http://project.test/a", undefined, null, null, "Show photo from project.test"],
    ["image", "https://x.test/a", undefined, null, null, "Show photo from x.test"],
    ["image", "javascript:alert(1)", undefined, null, null, "A file with an address that cannot be opened."],
    ["file", "data:text/html,x", undefined, null, null, "A file with an address that cannot be opened."],
    ["image", "nonsense", undefined, null, null, "A file with an address that cannot be opened."],
  ]) check(`${type} ${url}`, found(type, url, name).slice(1), right);
  const preloads = ["audio", "video"].map((type) => found(type, ours)[0].querySelector(type).getAttribute("preload"));
  check("not loaded before it is played", preloads, ["metadata", "metadata"]);
  const url = `${location.origin}/icon.svg`;
  const [box] = found("image", url);
  box.querySelector("button").click();
  await project.settle();
  const image = box.querySelector("img");
  check("shown", [image.src, image.getAttribute("referrerpolicy"), image.getAttribute("loading")], [url, "no-referrer", "lazy"]);
  image.dispatchEvent(new Event("error"));
  await project.settle();
  check("broken", clean(box), `<p class="quiet">This photo cannot be loaded.<a class="file" href="${url}" `
    + `target="_blank" rel="noopener noreferrer">Open photo from ${location.host}</a></p>`);
  for (const [type, kind] of [["video", "video"], ["audio", "voice message"]]) {
    const [place] = found(type, ours);
    place.querySelector(type).dispatchEvent(new Event("error"));
    await project.settle();
    check(`broken ${type}`, place.textContent.startsWith(`This ${kind} cannot be loaded.`), true);
  }
  return wrong;
}
