// A summary that the service makes, with links to the messages that each statement cites.

import { callService } from "./client.js";
import { useLoad } from "./state.js";
import { Dialog, html, Loading } from "./ui.js";

const MOST = 100; // cited messages that are looked up

/** `find` returns the addresses of cited messages by their ids. */
export function Summary({ path, body = {}, find, onClose }) {
  const { data, error } = useLoad(async () => {
    const summary = await callService(path, body);
    return { ...summary, hrefOf: await find(summary.citations.slice(0, MOST)) };
  }, []);
  const placeOf = (id) => data.citations.indexOf(id) + 1;
  const cite = (id) => html`<sup><a href=${data.hrefOf.get(id)} onClick=${onClose}
    aria-label=${`Message ${placeOf(id)}`}>${placeOf(id)}</a></sup>`;
  return html`<${Dialog} title="Summary" onClose=${onClose}><${Loading} data=${data} error=${error} />
    ${data && html`<p class="text" dir="auto">${data.statements.map(({ text, citations }) => html`${text}
      ${citations.filter((id) => data.hrefOf.has(id)).map(cite)}`)}</p>
      <p class="quiet">Of ${data.messageCount} messages.
        ${data.omittedCount > 0 && ` ${data.omittedCount} older ones were left out.`}</p>`}
  </${Dialog}>`;
}
