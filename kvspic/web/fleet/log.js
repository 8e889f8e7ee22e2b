// A camera's log: a line of time that shows how long it had each status, and its newest changes in words.
import { call } from "/web/fleet/api.js";
import { ms } from "/web/fleet/words.js";
import { keep, make } from "/web/lib/dom.js";
import { clock, span } from "/web/lib/format.js";

const PAGE = 1000;
const SHOWN = 200;
const LINE = 60; // parts of the line at most

export function makeLog(id) {
  const line = make("div", { className: "life", attributes: { role: "img", "aria-label": "Statuses over time" } });
  const list = make("ol", { className: "log" });
  const element = make("section", { className: "card" }, make("h2", {}, "Log"), line, list);
  let records = [];
  let after;
  return {
    element,
    /** Reads what came since the last call. */
    async load() {
      for (;;) {
        const page = await call("logs", { job: id, after, limit: PAGE });
        records.push(...page.logs);
        after = page.last ?? after;
        if (page.next === null) break;
      }
      records = records.slice(-PAGE);
      keep(list, records.slice(-SHOWN).reverse(), (record) => record.seq, makeLine, () => {});
      showLife();
    },
  };

  function makeLine(record) {
    const words = [record.cause, record.handler && `on ${record.handler}`, record.version > 1 && `version ${record.version}`, `epoch ${record.epoch}`];
    const error = record.error ? `${record.error.class}: ${record.error.text}` : null;
    return make("li", { className: `record ${record.status}` },
      make("time", { dateTime: record.time }, clock(ms(record.time))), " ",
      make("b", {}, record.status.replaceAll("_", " ")), ` ${words.filter(Boolean).join(", ")}`,
      error && make("span", { className: "bad" }, ` ${error}`));
  }

  function showLife() {
    const parts = records.slice(-LINE).map((record, at, all) => {
      const begin = ms(record.time);
      const end = at + 1 < all.length ? ms(all[at + 1].time) : record.status === "deleted" ? begin : Date.now();
      return { ...record, begin, length: end - begin };
    }).filter((part) => part.length > 0);
    keep(line, parts, (part) => part.seq, (part) => make("span", { className: `part ${part.status}` }), (piece, part) => {
      piece.style.flexGrow = String(Math.max(1, Math.log2(part.length / 100)));
      piece.title = `${part.status} for ${span(part.length)}, from ${clock(part.begin)}`;
    });
    line.hidden = !parts.length;
  }
}
