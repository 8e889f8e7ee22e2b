// What waits for a worker, in the order in which it will be handed out.
import { call, watch } from "/web/fleet/api.js";
import { ms } from "/web/fleet/words.js";
import { repeat } from "/web/lib/api.js";
import { keep, make, write } from "/web/lib/dom.js";
import { DASH, span } from "/web/lib/format.js";

const NAMES = ["Camera", "Waits for", "Labels", "Group"];

export function queueView({ view, failed, head }) {
  document.title = "kvspic fleet: queue";
  const count = make("span", { className: "dim" });
  const rows = make("tbody");
  const table = make("table", { className: "jobs" },
    make("thead", {}, make("tr", {}, ...NAMES.map((name) => make("th", { scope: "col" }, name)))), rows);
  const empty = make("p", { className: "empty", hidden: true }, "Nothing waits.");
  view.append(make("div", { className: "tools" }, make("h1", {}, "Queue"), count), make("div", { className: "card scroll" }, table, empty));

  async function load() {
    try {
      const { length, jobs } = await call("queue");
      head.say(null);
      write(count, length > jobs.length ? `the first ${jobs.length} of ${length}` : "");
      table.hidden = !jobs.length;
      empty.hidden = jobs.length > 0;
      const now = Date.now();
      keep(rows, jobs, (job) => job.id,
        (job) => make("tr", {}, make("td", {}, make("a", { href: `#/job/${encodeURIComponent(job.id)}` })), ...NAMES.slice(1).map(() => make("td"))),
        (row, job) => {
          write(row.querySelector("a"), job.name);
          const texts = [span(now - ms(job.status_since)), (job.labels ?? []).join(", ") || DASH, job.group ?? DASH];
          texts.forEach((text, index) => write(row.children[index + 1], text));
        });
    } catch (error) {
      failed(error);
    }
  }

  const stop = repeat(load, 2000);
  const stopWatching = watch(load);
  return () => { stop(); stopWatching(); };
}
