// Long lists of messages: a window of them is loaded, and grows and moves as the user scrolls.

import { useEffect, useLayoutEffect, useRef, useState } from "./vendor/libraries.js";
import { Empty, Failure, html } from "./ui.js";

const MOST = 300; // messages in the page at once
const NEAR = 600; // pixels from an end at which more is loaded

/**
 * A window of a list in ascending order.
 *
 * `load(edge, isOlder)` returns what lies before or behind an item, nearest first; without an edge, the newest or the
 * oldest. `compare` orders items, and `keyOf` names them. `size` is what a full page has.
 */
export function usePages({ load, compare, keyOf, size, inputs }) {
  const [state, setState] = useState({ items: [] });
  const now = useRef(state);
  const turn = useRef(0);
  const busy = useRef(null);
  const resets = useRef(null); // the reset that runs
  const again = useRef(null); // the refresh after what runs
  const news = useRef(0); // counts what came live: a page that was asked for before may lack it
  const put = (change) => setState((now.current = { ...now.current, ...change }));

  function join(rows) {
    const known = new Map(now.current.items.map((each) => [keyOf(each), each]));
    for (const row of rows) known.set(keyOf(row), { ...known.get(keyOf(row)), ...row });
    return [...known.values()].sort(compare);
  }

  function run(work) {
    const mine = turn.current;
    busy.current ??= work(() => mine === turn.current)
      .catch((error) => mine === turn.current && put({ error }))
      .finally(() => (busy.current = null));
    return busy.current;
  }

  const more = (isOlder) => run(async (isCurrent) => {
    const { items } = now.current;
    const before = news.current;
    const rows = await load(isOlder ? items[0] : items.at(-1), isOlder);
    if (!isCurrent()) return;
    const all = join(rows);
    const kept = isOlder ? all.slice(0, MOST) : all.slice(-MOST);
    const [end, other] = isOlder ? ["hasOlder", "hasNewer"] : ["hasNewer", "hasOlder"];
    const trimmed = kept.length < all.length ? { [other]: true } : {};
    const isCut = rows.length === size || (!isOlder && news.current !== before);
    put({ items: kept, error: undefined, [end]: isCut, ...trimmed, ...!isOlder && !isCut && { missed: 0 } });
  });

  /** Loads from the newest or the oldest end, or around an item: { at, found: [item], key }. */
  function reset(end) {
    const mine = resets.current = read(end).finally(() => {
      if (resets.current === mine) resets.current = null;
    });
    return mine;
  }

  async function read(end = "newest") {
    const { at, found = [], key = end } = Object(end) === end ? end : {};
    const mine = ++turn.current;
    const before = news.current;
    busy.current = null;
    try {
      const rows = at
        ? [...await load(at, true), ...found, ...await load(at, false)]
        : await load(undefined, end === "newest");
      if (mine !== turn.current) return;
      put({ items: [] });
      const isFull = rows.length >= size;
      const ends = at ? [true, true] : end === "newest" ? [isFull, news.current !== before] : [false, isFull];
      put({ items: join(rows), hasOlder: ends[0], hasNewer: ends[1], missed: 0, isLoaded: true, error: undefined,
        place: { key } });
    } catch (error) {
      if (mine === turn.current) put({ error, isLoaded: true });
    }
  }

  function refresh() {
    const running = resets.current ?? busy.current;
    if (running) {
      return again.current ??= running.then(() => {
        again.current = null;
        return refresh();
      });
    }
    if (now.current.hasNewer) return put({ missed: (now.current.missed ?? 0) + 1 });
    return run(async (isCurrent) => {
      const rows = await load(undefined, true);
      const isFull = rows.length === size;
      // Between a page of new ones only and what is here, others may be missing.
      const isApart = isFull && !now.current.items.some((each) => keyOf(each) === keyOf(rows.at(-1)));
      if (isCurrent() && isApart) put({ items: [] });
      if (isCurrent()) put({ items: join(rows).slice(-MOST), hasOlder: now.current.hasOlder || isFull });
    });
  }

  useEffect(() => {
    put({ items: [], isLoaded: false, hasOlder: false, hasNewer: false, error: undefined });
    turn.current++;
  }, inputs);

  return {
    ...state,
    older: () => state.hasOlder && more(true),
    newer: () => state.hasNewer && more(false),
    reset,
    /** Adds what came at the newest end, if that is loaded. */
    add(rows) {
      news.current++;
      if (now.current.hasNewer) put({ missed: (now.current.missed ?? 0) + rows.length });
      else put({ items: join(rows).slice(-MOST), hasOlder: now.current.hasOlder || join(rows).length > MOST });
    },
    /** Changes an item that is loaded; null from `change` removes it. */
    change(key, change) {
      const items = now.current.items.flatMap((each) => (keyOf(each) === key ? change(each) ?? [] : each));
      put({ items });
    },
    /** Reads the newest page again, to learn what came meanwhile. */
    refresh,
  };
}

/** Shows a window of messages. It stays where the user reads, and at the newest end if the user is there. */
export function Scroller({ pages, label, render, keyOf, empty, onEnd }) {
  const box = useRef();
  const view = useRef({ isAtEnd: true });
  const [isAway, setAway] = useState(false);
  const rows = () => [...box.current.firstChild.children];

  function remember() {
    if (!box.current) return; // the browser may tell of a scroll after the end
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < 40;
    const first = rows().find((row) => row.offsetTop + row.offsetHeight > scrollTop);
    view.current = { isAtEnd, row: first, key: first?.dataset.key, offset: first && first.offsetTop - scrollTop };
    setAway(!isAtEnd);
    if (isAtEnd && !pages.hasNewer && document.visibilityState === "visible") onEnd?.();
    if (scrollTop < NEAR) pages.older();
    if (scrollHeight - scrollTop - clientHeight < NEAR) pages.newer();
  }

  function restore() {
    if (!box.current) return; // an observer may call after the end
    const { isAtEnd, key, offset } = view.current;
    if (isAtEnd && !pages.hasNewer) box.current.scrollTop = box.current.scrollHeight;
    else if (key) {
      const row = rows().find((each) => each.dataset.key === key);
      if (row) box.current.scrollTop = row.offsetTop - offset;
    }
  }

  useLayoutEffect(() => {
    restore();
    if (pages.isLoaded) remember();
  }, [pages.items]);

  useLayoutEffect(() => {
    if (!pages.isLoaded) view.current = { isAtEnd: true };
    else if (pages.place?.key === "oldest") box.current.scrollTop = 0;
    else if (pages.place?.key !== "newest") {
      const row = rows().find((each) => each.dataset.key === pages.place?.key);
      if (row) box.current.scrollTop = row.offsetTop - 80;
      row?.classList.add("found");
    } else box.current.scrollTop = box.current.scrollHeight;
    if (pages.isLoaded) remember();
  }, [pages.place, pages.isLoaded]);

  useEffect(() => {
    const observer = new ResizeObserver(restore); // pictures load, and windows change
    observer.observe(box.current.firstChild);
    observer.observe(box.current);
    document.addEventListener("visibilitychange", remember); // what is at the end is read when it is seen
    return () => {
      observer.disconnect();
      document.removeEventListener("visibilitychange", remember);
    };
  });

  const { items } = pages;
  return html`<div class="scroller">
    <div class="scroll" ref=${box} onScroll=${remember} tabindex="0" role="region" aria-label=${label}>
      <ol>${items.map((each, place) => html`<li key=${keyOf(each)} data-key=${keyOf(each)}>
        ${render(each, items[place - 1])}</li>`)}</ol>
      ${pages.isLoaded && !items.length && !pages.error && html`<${Empty} title=${empty} />`}
      ${!pages.isLoaded && html`<p class="quiet" role="status">Loading …</p>`}
    </div>
    <${Failure} error=${pages.error} />
    ${(isAway || pages.hasNewer) && html`<button class="newest" onClick=${() => pages.reset("newest")}>
      ${pages.missed ? `${pages.missed} new` : "Newest"} ↓</button>`}
  </div>`;
}
