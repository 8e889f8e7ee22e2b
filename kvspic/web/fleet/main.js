// The page of a fleet server: its views and the head line.
import { handlersView } from "/web/fleet/handlers.js";
import { jobView } from "/web/fleet/job.js";
import { jobsView } from "/web/fleet/jobs.js";
import { queueView } from "/web/fleet/queue.js";
import { make, write } from "/web/lib/dom.js";
import { runPage } from "/web/lib/shell.js";

const VIEWS = [
  [/^#\/job\/(.+)$/, (shell, id) => jobView(shell, id)],
  [/^#\/workers$/, handlersView],
  [/^#\/queue$/, queueView],
  [/(?:)/, jobsView],
];

function makeHead() {
  const line = make("p", { className: "notice", hidden: true, attributes: { role: "status" } });
  const links = [["#/", "Cameras"], ["#/workers", "Workers"], ["#/queue", "Queue"]]
    .map(([href, text]) => make("a", { href, className: "link" }, text));
  document.querySelector("#top").append(
    make("div", { className: "bar" },
      make("a", { href: "#/", className: "brand" }, make("img", { src: "/web/lib/icon.svg", alt: "" }), "kvspic fleet"),
      make("nav", { className: "links" }, ...links), make("span", { className: "grow" }),
      make("span", { className: "dim wide" }, location.host)),
    line);
  return {
    /** Shows what is wrong with the server, or nothing. */
    say(text) {
      line.hidden = !text;
      write(line, text ?? "");
    },
    mark() {
      const at = location.hash || "#/";
      for (const link of links) link.classList.toggle("chosen", link.getAttribute("href") === at);
    },
  };
}

/** The view that the address names, and the part of the address that it takes. */
function open(shell) {
  shell.head.mark();
  const [form, makeView] = VIEWS.find(([words]) => words.test(location.hash));
  const id = form.exec(location.hash)?.[1];
  return makeView(shell, id && decodeURIComponent(id));
}

runPage({ head: makeHead(), refused: 401, open });
