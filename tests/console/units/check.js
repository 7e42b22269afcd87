// What the tables of this folder share: results, and components in a page without the console.

import { h, render } from "../vendor/libraries.js";

/** Collects what differs from what is right, as [name, found, right]. */
export function checking() {
  const wrong = [];
  const plain = (value) => JSON.stringify(value, (_, each) => each === undefined ? null : each);
  const check = (name, found, right) => {
    if (plain(found) !== plain(right)) wrong.push([name, found ?? null, right ?? null]);
  };
  return { check, wrong };
}

/** Shows something in a box of its own. */
export async function show(what, box = document.body.appendChild(document.createElement("div"))) {
  render(what, box);
  await project.settle();
  return box;
}

/** Shows it without waiting for what it loads. */
export function draw(what) {
  const box = document.body.appendChild(document.createElement("div"));
  render(what, box);
  return box;
}

/** A component that only runs a hook: `now` is what it returned last. */
export function mount(use) {
  const box = document.body.appendChild(document.createElement("div"));
  const held = { shown: [] };
  const Component = (given) => {
    held.now = use(given);
    held.shown.push(held.now);
    return null;
  };
  held.show = (given = {}) => show(h(Component, given), box);
  held.end = () => show(null, box);
  return held;
}

/** A promise with the functions that end it. */
export function later() {
  const held = {};
  held.promise = new Promise((resolve, reject) => Object.assign(held, { resolve, reject }));
  return held;
}
