// The workers: what they carry of what they may, when they called last, and drain.
import { call, watch } from "/web/fleet/api.js";
import { ms } from "/web/fleet/words.js";
import { repeat } from "/web/lib/api.js";
import { keep, make, write } from "/web/lib/dom.js";
import { ago, DASH } from "/web/lib/format.js";

const NAMES = ["Worker", "State", "Carries", "Seen", "Host", "Labels", "Version", ""];
const COLORS = { ready: "live", draining: "starting", lost: "error" };

export function handlersView({ view, failed, head }) {
  document.title = "kvspic fleet: workers";
  const rows = make("tbody");
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...NAMES.map((name) => make("th", { scope: "col" }, name)))), rows);
  const empty = make("p", { className: "empty", hidden: true }, `No worker yet. Start one: kvspic fleet worker --server ${location.origin}`);
  view.append(make("div", { className: "tools" }, make("h1", {}, "Workers")), make("div", { className: "card scroll" }, table, empty));

  async function load() {
    try {
      const { handlers, notice } = await call("handlers");
      head.say(notice);
      table.hidden = !handlers.length;
      empty.hidden = handlers.length > 0;
      keep(rows, handlers, (one) => one.id, makeRow, update);
    } catch (error) {
      failed(error);
    }
  }

  function makeRow(one) {
    const act = (word, method) => make("button", {
      type: "button",
      onclick: () => call(`handlers/${encodeURIComponent(one.id)}${word && `/${word}`}`, {}, { method }).then(load, failed),
    }, word === "drain" ? "Drain" : word === "undrain" ? "Undrain" : "Forget");
    const cells = NAMES.slice(1, -1).map(() => make("td"));
    cells[0].append(make("span", { className: "badge" }));
    return make("tr", {}, make("td", {}, one.id), ...cells, make("td", {}, act("drain", "POST"), act("undrain", "POST"), act("", "DELETE")));
  }

  function update(row, one) {
    const badge = row.querySelector(".badge");
    badge.className = `badge ${COLORS[one.state] ?? ""}`;
    write(badge, one.state);
    const texts = [`${one.carried} of ${one.slots}`, ago(ms(one.seen), Date.now()), one.host ?? DASH, one.labels.join(", ") || DASH, one.version || DASH];
    texts.forEach((text, index) => write(row.children[index + 2], text));
    const [drain, undrain, forget] = row.querySelectorAll("button");
    drain.hidden = one.state === "draining";
    undrain.hidden = !drain.hidden;
    forget.hidden = one.carried > 0 || one.state === "ready";
  }

  const stop = repeat(load, 2000);
  const stopWatching = watch(load);
  return () => { stop(); stopWatching(); };
}
