// The window of a long list: what is loaded, kept and cut, and answers that come too late.

import { usePages } from "../pages.js";
import { checking, later, mount } from "./check.js";

const SIZE = 100;

/** A list of the numbers from 1 to `count`. */
function start(count) {
  const list = { rows: Array.from({ length: count }, (_, place) => ({ n: place + 1 })), loads: [], answers: [] };
  async function load(edge, isOlder) {
    list.loads.push([edge?.n ?? null, isOlder]);
    const found = list.rows.filter((row) => !edge || (isOlder ? row.n < edge.n : row.n > edge.n));
    const page = isOlder ? found.slice(-SIZE).reverse() : found.slice(0, SIZE);
    await list.answers.shift()?.promise;
    return page;
  }
  const hook = mount(({ inputs = "a" }) => usePages({
    load, compare: (a, b) => a.n - b.n, keyOf: (row) => String(row.n), size: SIZE, inputs: [inputs],
  }));
  return Object.assign(list, {
    hook,
    hold() {
      const held = later();
      list.answers.push(held);
      return held;
    },
    async act(name, ...given) {
      hook.now[name](...given);
      await project.settle();
      return list.state();
    },
    state() {
      const { items, hasOlder, hasNewer, missed } = hook.now;
      return [items[0]?.n, items.at(-1)?.n, items.length, hasOlder, hasNewer, missed];
    },
  });
}

/** A long list moves both ways, and each cut end says that there is more. */
export async function moves() {
  const { check, wrong } = checking();
  const list = start(1000);
  await list.hook.show();
  check("nothing", [...list.state(), list.hook.now.isLoaded], [null, null, 0, false, false, null, false]);
  check("newest", await list.act("reset"), [901, 1000, 100, true, false, 0]);
  check("place", [list.hook.now.place, list.hook.now.isLoaded], [{ key: "newest" }, true]);
  check("no newer", [await list.act("newer"), list.loads.length], [[901, 1000, 100, true, false, 0], 1]);
  check("older", await list.act("older"), [801, 1000, 200, true, false, 0]);
  check("full", await list.act("older"), [701, 1000, 300, true, false, 0]);
  check("new end cut", await list.act("older"), [601, 900, 300, true, true, 0]);
  check("again", await list.act("older"), [501, 800, 300, true, true, 0]);
  check("back", await list.act("newer"), [601, 900, 300, true, true, 0]);
  check("at the end", await list.act("newer"), [701, 1000, 300, true, true, 0]);
  check("end known", await list.act("newer"), [701, 1000, 300, true, false, 0]);
  check("edges", list.loads, [
    [null, true], [901, true], [801, true], [701, true], [601, true], [800, false], [900, false], [1000, false],
  ]);
  check("oldest", await list.act("reset", "oldest"), [1, 100, 100, false, true, 0]);
  check("place of the oldest", list.hook.now.place, { key: "oldest" });
  for (let turn = 0; turn < 2; turn++) await list.act("newer");
  check("from the oldest", list.state(), [1, 300, 300, false, true, 0]);
  check("old end cut", await list.act("newer"), [101, 400, 300, true, true, 0]);
  check("around", await list.act("reset", { at: { n: 501 }, key: "500" }), [401, 601, 200, true, true, 0]);
  check("place in the middle", list.hook.now.place, { key: "500" });
  const found = { at: { n: 501 }, found: [{ n: 501 }], key: "x" };
  check("around a row", await list.act("reset", found), [401, 601, 201, true, true, 0]);
  check("sorted", list.hook.now.items.every((row, place) => row.n === 401 + place), true);
  return wrong;
}

/** Lists that end: at a full page, before it, and without a row. */
export async function ends() {
  const { check, wrong } = checking();
  for (const [count, newest, older] of [
    [99, [1, 99, 99, false, false, 0], 1],
    [100, [1, 100, 100, true, false, 0], 2],
    [0, [null, null, 0, false, false, 0], 1],
  ]) {
    const list = start(count);
    await list.hook.show();
    check(`newest of ${count}`, await list.act("reset"), newest);
    const end = [...newest];
    end[3] = false;
    check(`older of ${count}`, [await list.act("older"), list.loads.length], [end, older]);
  }
  const list = start(100);
  await list.hook.show();
  check("oldest", await list.act("reset", "oldest"), [1, 100, 100, false, true, 0]);
  check("newer", await list.act("newer"), [1, 100, 100, false, false, 0]);
  return wrong;
}

/** What comes live: at the newest end it is added, elsewhere it is counted. */
export async function additions() {
  const { check, wrong } = checking();
  const list = start(5);
  await list.hook.show();
  await list.act("reset");
  check("added", await list.act("add", [{ n: 6 }]), [1, 6, 6, false, false, 0]);
  check("twice", await list.act("add", [{ n: 6, text: "new" }]), [1, 6, 6, false, false, 0]);
  check("merged", list.hook.now.items.at(-1), { n: 6, text: "new" });
  check("in between", await list.act("add", [{ n: 5.5 }]), [1, 6, 7, false, false, 0]);
  check("in order", list.hook.now.items.map((row) => row.n), [1, 2, 3, 4, 5, 5.5, 6]);
  await list.act("change", "3", (row) => ({ ...row, text: "three" }));
  await list.act("change", "4", () => null);
  await list.act("change", "77", () => ({ n: 77 }));
  check("changed", list.hook.now.items.map((row) => row.text ?? row.n), [1, 2, "three", 5, 5.5, "new"]);
  list.rows = [{ n: 3, text: "3" }, { n: 4 }, { n: 7 }];
  check("refreshed", await list.act("refresh"), [1, 7, 8, false, false, 0]);
  check("refreshed rows", list.hook.now.items.map((row) => row.text ?? row.n), [1, 2, "3", 4, 5, 5.5, "new", 7]);
  list.rows = Array.from({ length: 150 }, (_, place) => ({ n: 10 + place }));
  check("a full page has older ones", await list.act("refresh"), [60, 159, 100, true, false, 0]);

  const long = start(400);
  await long.hook.show();
  await long.act("reset");
  await long.act("older");
  await long.act("older");
  check("many", await long.act("add", [{ n: 401 }]), [102, 401, 300, true, false, 0]);
  await long.act("older");
  check("away", [await long.act("add", [{ n: 402 }, { n: 403 }]), long.loads.length], [[2, 301, 300, true, true, 2], 4]);
  check("more", await long.act("add", [{ n: 404 }]), [2, 301, 300, true, true, 3]);
  check("something", [await long.act("refresh"), long.loads.length], [[2, 301, 300, true, true, 4], 4]);
  check("seen", await long.act("reset"), [301, 400, 100, true, false, 0]);
  check("kept at the end", await long.act("refresh"), [301, 400, 100, true, false, 0]);

  const few = start(300);
  await few.hook.show();
  await few.act("reset", "oldest");
  for (let turn = 0; turn < 3; turn++) await few.act("newer");
  check("all are here", few.state(), [1, 300, 300, false, false, 0]);
  check("the first one is cut", await few.act("add", [{ n: 301 }]), [2, 301, 300, true, false, 0]);
  const refreshed = start(300);
  await refreshed.hook.show();
  await refreshed.act("reset", "oldest");
  for (let turn = 0; turn < 3; turn++) await refreshed.act("newer");
  refreshed.rows.push({ n: 301 });
  check("refresh cuts too", await refreshed.act("refresh"), [2, 301, 300, true, false, 0]);
  return wrong;
}

/** What comes while a page is read: it is read again, so nothing stays away. */
export async function meanwhile() {
  const { check, wrong } = checking();
  const list = start(300);
  await list.hook.show();
  await list.act("reset");
  let answer = list.hold();
  list.hook.now.refresh();
  list.rows.push({ n: 301 }); // after the read of the first refresh
  for (let turn = 0; turn < 3; turn++) list.hook.now.refresh();
  answer.resolve();
  await project.settle();
  check("once more", [list.state(), list.loads.length], [[201, 301, 101, true, false, 0], 3]);
  answer = list.hold();
  list.hook.now.older();
  list.rows.push({ n: 302 });
  list.hook.now.refresh();
  answer.resolve();
  await project.settle();
  check("after older ones", list.state(), [101, 302, 202, true, false, 0]);
  list.rows.push(...Array.from({ length: 250 }, (_, place) => ({ n: 303 + place })));
  check("without a hole", await list.act("refresh"), [453, 552, 100, true, false, 0]);
  check("older than these", await list.act("older"), [353, 552, 200, true, false, 0]);

  answer = list.hold();
  list.hook.now.reset("newest");
  list.rows.push({ n: 553 });
  list.hook.now.add([{ n: 553 }]);
  answer.resolve();
  await project.settle();
  check("after a reset", list.state(), [453, 552, 100, true, true, 0]);
  check("the rest", await list.act("newer"), [453, 553, 101, true, false, 0]);
  await list.act("reset", { at: { n: 500 }, key: "500" });
  check("counted", await list.act("add", [{ n: 553 }]), [400, 553, 153, true, true, 1]);
  answer = list.hold();
  list.hook.now.newer();
  list.rows.push({ n: 554 });
  list.hook.now.add([{ n: 554 }]);
  answer.resolve();
  await project.settle();
  check("after newer ones", list.state(), [400, 553, 153, true, true, 2]);
  check("none is new", await list.act("newer"), [400, 554, 154, true, false, 0]);
  const others = [list.hold(), list.hold()];
  list.hook.now.reset("newest");
  await project.settle();
  list.rows.push({ n: 555 });
  list.hook.now.refresh();
  others[1].resolve();
  await project.settle();
  others[0].resolve();
  await project.settle();
  check("refreshed in a reset", list.state(), [455, 555, 101, true, false, 0]);
  return wrong;
}

/** Failures are shown until the next answer, and an answer of before is no answer. */
export async function failures() {
  const { check, wrong } = checking();
  const list = start(1000);
  const error = () => list.hook.now.error?.message;
  await list.hook.show();
  const first = list.hold();
  list.hook.now.reset();
  first.reject(Error("No reset"));
  await project.settle();
  check("reset fails", [error(), list.hook.now.isLoaded, list.hook.now.items], ["No reset", true, []]);
  check("reset works", [await list.act("reset"), error()], [[901, 1000, 100, true, false, 0], null]);
  const second = list.hold();
  list.hook.now.older();
  list.hook.now.older();
  second.reject(Error("No page"));
  await project.settle();
  check("page fails", [error(), list.state(), list.loads.length], ["No page", [901, 1000, 100, true, false, 0], 3]);
  check("page works", [await list.act("older"), error()], [[801, 1000, 200, true, false, 0], null]);

  const [slow, quick] = [list.hold(), list.hold()];
  list.hook.now.reset("oldest");
  list.hook.now.reset("newest");
  quick.resolve();
  await project.settle();
  slow.resolve();
  await project.settle();
  check("late reset", [list.state(), list.hook.now.place], [[901, 1000, 100, true, false, 0], { key: "newest" }]);
  for (const end of ["resolve", "reject"]) {
    const page = list.hold();
    list.hook.now.older();
    await list.act("reset", "oldest");
    page[end](Error("Late"));
    await project.settle();
    check(`late page ${end}`, [list.state(), error()], [[1, 100, 100, false, true, 0], null]);
    check(`next page ${end}`, await list.act("newer"), [1, 200, 200, false, true, 0]);
    await list.act("reset");
  }
  const late = list.hold();
  list.hook.now.older();
  await list.act("reset", "oldest");
  check("page before the late one", await list.act("newer"), [1, 200, 200, false, true, 0]);
  late.resolve();
  await list.act("reset");
  const refresh = list.hold();
  list.hook.now.refresh();
  await list.act("reset", "oldest");
  refresh.resolve();
  await project.settle();
  check("late refresh", list.state(), [1, 100, 100, false, true, 0]);

  for (const end of ["resolve", "reject"]) {
    const reset = list.hold();
    list.hook.now.reset();
    await list.hook.show({ inputs: `b ${end}` });
    check(`other inputs ${end}`, [...list.state(), list.hook.now.isLoaded], [null, null, 0, false, false, 0, false]);
    reset[end](Error("Late"));
    await project.settle();
    check(`late for other inputs ${end}`, [list.state()[2], error(), list.hook.now.isLoaded], [0, null, false]);
  }
  return wrong;
}
