// Faults of the endpoint, switched on and off by hand. They strike clients of the API, never this page.
import { call } from "/web/lib/api.js";
import { keep, make, write } from "/web/lib/dom.js";

// kind: what it does in words, and the values that it takes with what they begin as.
const KINDS = {
  cut: ["The connection of an upload breaks after so many bytes.", { after_bytes: 20000 }],
  silence: ["From so many bytes on nothing is read and nothing answered.", { after_bytes: 20000 }],
  stall: ["No byte moves in either direction for a while.", { delay_s: 5 }],
  throttle: ["Uploads are read no faster than this.", { bytes_per_s: 20000 }],
  answer: ["Calls are refused with a status.", { status: 500, error_name: "", retry_after_s: 0 }],
  delay: ["Answers come later.", { delay_s: 2 }],
  refuse: ["Connections are refused.", {}],
  unreachable: ["Nothing answers.", {}],
  "error-ack": ["A fragment of each session earns an ERROR ACK.", { error_id: "ARCHIVAL_ERROR", fragment: 2 }],
  "kms-key": ["The key of the stream cannot be used.", { error_id: "KMS_KEY_DISABLED" }],
  "delay-acks": ["ACKs come later.", { delay_s: 2 }],
  "reorder-acks": ["ACKs overtake each other.", {}],
  "drop-acks": ["ACKs are lost, the data is not.", {}],
  "expire-tokens": ["Every credential that was used so far is refused as expired.", {}],
  restart: ["The endpoint ends all connections and comes back.", { delay_s: 3 }],
};
const MEDIA = new Set(["cut", "silence", "throttle", "error-ack", "delay-acks", "reorder-acks", "drop-acks"]);
const WHOLE = new Set(["stall", "expire-tokens", "restart"]); // these happen to the endpoint, not to a call

/** Makes the panel; `onCount` gets how many faults are on. */
export function faultsPanel(onCount) {
  const list = make("ul", { className: "fault-list" });
  const none = make("p", { className: "dim" }, "No fault is on.");
  const trouble = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
  const words = make("p", { className: "dim" });
  const values = make("div", { className: "fields" });
  const kind = select("Fault", Object.keys(KINDS));
  const stream = field("Stream", "*", "text");
  const count = select("How often", ["once", "always"]);
  const clear = make("button", { type: "button", onclick: () => change({ method: "DELETE" }) }, "All off");
  const form = make("form", {}, kind.label, stream.label, values, count.label,
    make("button", { type: "submit", className: "primary" }, "Switch on"));
  const element = make("section", { className: "card faults", hidden: true, attributes: { "aria-label": "Faults" } },
    make("div", { className: "tools small" }, make("h2", {}, "Faults"), make("span", { className: "grow" }), clear), trouble, none, list, words, form);
  let fields = {};

  function choose() {
    const [text, members] = KINDS[kind.input.value];
    write(words, text);
    fields = Object.fromEntries(Object.entries(members).map(([name, first]) => [name, field(name, first, typeof first === "number" ? "number" : "text")]));
    values.replaceChildren(...Object.values(fields).map((one) => one.label));
    const isWhole = WHOLE.has(kind.input.value);
    stream.label.hidden = count.label.hidden = isWhole;
  }

  function asked() {
    const members = { kind: kind.input.value };
    for (const [name, { input }] of Object.entries(fields)) {
      if (input.value !== "") members[name] = input.type === "number" ? Number(input.value) : input.value;
    }
    if (WHOLE.has(members.kind)) return members;
    members.stream = stream.input.value || "*";
    if (MEDIA.has(members.kind)) members.operation = "PutMedia";
    if (count.input.value === "once" && members.kind !== "kms-key") members.count = 1;
    return members;
  }

  async function change({ query = {}, ...options } = {}) {
    try {
      show(await call("faults", query, options));
      trouble.hidden = true;
    } catch (error) {
      trouble.hidden = false;
      write(trouble, error.message);
    }
  }

  function show({ faults }) {
    onCount(faults.length);
    none.hidden = faults.length > 0;
    clear.disabled = faults.length === 0;
    keep(list, faults, (fault) => fault.number, (fault) => make("li", {}, make("strong", {}, fault.kind), make("span", { className: "grow" }),
      make("button", { type: "button", onclick: () => change({ method: "DELETE", query: { number: fault.number } }) }, "Off")),
    (item, fault) => write(item.querySelector(".grow"), faultWords(fault)));
  }

  kind.input.addEventListener("change", choose);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    change({ method: "POST", body: asked() });
  });
  choose();
  return {
    element,
    toggle() {
      element.hidden = !element.hidden;
      if (!element.hidden) change();
    },
  };
}

function faultWords(fault) {
  const parts = [fault.operation === "*" ? "every call" : fault.operation, fault.stream === "*" ? "every stream" : fault.stream];
  if (fault.after_bytes) parts.push(`after ${fault.after_bytes} bytes`);
  if (fault.delay_hns) parts.push(`${fault.delay_hns / 1e7} s`);
  if (fault.bytes_per_s) parts.push(`${fault.bytes_per_s} bytes/s`);
  if (fault.kind === "answer") parts.push(`${fault.status} ${fault.error_name}`);
  if (fault.count) parts.push(fault.count === 1 ? "once" : `${fault.count} times`);
  return parts.join(", ");
}

function field(name, value, type) {
  const input = make("input", { type, value, name, min: 0, step: "any" });
  return { input, label: make("label", {}, name.replaceAll("_", " "), input) };
}

function select(name, options) {
  const input = make("select", { name }, ...options.map((option) => make("option", { value: option }, option)));
  return { input, label: make("label", {}, name, input) };
}
