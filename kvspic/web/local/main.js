// The page of the local endpoint: its two views and the head line.
import { make, write } from "/web/lib/dom.js";
import { runPage } from "/web/lib/shell.js";
import { faultsPanel } from "/web/local/faults.js";
import { streamsView } from "/web/local/streams.js";
import { streamView } from "/web/local/stream.js";

function makeHead() {
  const line = make("p", { className: "notice", hidden: true, attributes: { role: "status" } });
  const region = make("span", { className: "dim" });
  const faults = make("button", { type: "button", className: "faults-button", onclick: () => panel.toggle() }, "Faults");
  const setFaults = (count) => {
    write(faults, count ? `Faults: ${count} on` : "Faults");
    faults.classList.toggle("on", count > 0);
  };
  const panel = faultsPanel(setFaults);
  document.querySelector("#top").append(
    make("div", { className: "bar" },
      make("a", { href: "#/", className: "brand" }, make("img", { src: "/web/lib/icon.svg", alt: "" }), "kvspic"),
      make("span", { className: "dim wide" }, location.host), region, make("span", { className: "grow" }), faults),
    line, panel.element);
  return {
    setFaults,
    setRegion: (name) => write(region, name),
    /** Shows what is wrong with the endpoint, or nothing. */
    say(text) {
      line.hidden = !text;
      write(line, text ?? "");
    },
  };
}

/** A stream that the address names, else the list of all. */
function open(shell) {
  const name = /^#\/stream\/(.+)$/.exec(location.hash);
  return name ? streamView(shell, decodeURIComponent(name[1])) : streamsView(shell);
}

runPage({ head: makeHead(), refused: 403, open });
