// Calls of the pages. The token, where there is one, lives in sessionStorage and goes out as a header.

const KEY = "kvspic-token";

/** An answer that is no success: `status` is HTTP's, 0 where nothing answered; the message is for a person. */
export class ApiError extends Error {
  constructor(message, status, name = "") {
    super(message);
    this.status = status;
    this.name = name;
  }
}

export function setToken(token) {
  sessionStorage.setItem(KEY, token);
}

/** The token, "" where there is none. */
export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** Calls the endpoint's `/page/PATH`. `query` goes into the URL, `body` as JSON.
 * Raises ApiError. */
export function call(path, query = {}, options = {}) {
  return ask(`/page/${path}`, { "X-Kvspic-Token": token() }, query, options);
}

/** Makes a request for JSON. What is undefined in `query` is left out.
 * Raises ApiError. */
export async function ask(path, headers, query = {}, { method = "GET", body, signal } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const words = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  let response;
  try {
    response = await fetch(`${path}${words && "?"}${words}`, {
      method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. This page goes on trying.", 0);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const words = answer.Message ?? answer.message ?? `The server answered ${response.status}.`;
    throw new ApiError(words, response.status, response.headers.get("x-amzn-ErrorType") ?? answer.error ?? "");
  }
  return answer;
}

/** Runs `work` now and `pause` milliseconds after each end of it, less often while the page is hidden, until the
 * returned function is called. */
export function repeat(work, pause) {
  let timer = 0;
  let ended = false;
  const run = async () => {
    try {
      await work();
    } finally {
      if (!ended) timer = setTimeout(run, document.hidden ? pause * 10 : pause);
    }
  };
  const shown = () => {
    if (document.hidden || ended) return;
    clearTimeout(timer);
    timer = setTimeout(run, 0);
  };
  document.addEventListener("visibilitychange", shown);
  run();
  return () => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", shown);
  };
}
