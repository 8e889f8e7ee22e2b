// Calls of the fleet server, and its events.
import { ask, token } from "/web/lib/api.js";

function headers() {
  const given = token();
  return given ? { Authorization: `Bearer ${given}` } : {};
}

/** Calls `/v1/PATH` or another path of the server. Raises ApiError. */
export function call(path, query = {}, options = {}) {
  return ask(path.startsWith("/") ? path : `/v1/${path}`, headers(), query, options);
}

/** The path of a job by its id. */
export function jobPath(id) {
  return `jobs/${encodeURIComponent(id)}`;
}

/** Calls `changed()` soon after something changed in the fleet, at most once a second, until the returned function is
 * called. A lost connection is made again. */
export function watch(changed) {
  const stopped = new AbortController();
  let timer = 0;
  const soon = () => {
    timer ||= setTimeout(() => {
      timer = 0;
      changed();
    }, 1000);
  };
  const read = async () => {
    while (!stopped.signal.aborted) {
      try {
        const response = await fetch("/v1/events", { headers: headers(), signal: stopped.signal, cache: "no-store" });
        if (response.ok) await readAll(response.body.getReader(), soon);
      } catch {
        // the server is away: the view that asks it says so
      }
      if (!stopped.signal.aborted) await new Promise((done) => setTimeout(done, 3000));
    }
  };
  read();
  return () => {
    stopped.abort();
    clearTimeout(timer);
  };
}

async function readAll(reader, soon) {
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    if (decoder.decode(value, { stream: true }).includes("event:")) soon();
  }
}
