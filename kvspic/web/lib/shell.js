// What each page does around its views: it shows the one that the address names, says errors, and asks for a token.
import { ApiError, setToken } from "/web/lib/api.js";
import { make } from "/web/lib/dom.js";

/**
 * Runs a page. `head.say(text)` shows what is wrong with the server, or nothing; `refused` is the status by which the
 * server asks for a token; `open({view, failed, head})` shows a view and returns the function that ends it.
 */
export function runPage({ head, refused, open }) {
  const view = document.querySelector("#view");
  let leave = () => {};

  /** What a view does with an error: the head line says it; a missing token shows a field for it. */
  function failed(error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ApiError)) throw error;
    if (error.status === refused) return askToken(error.message);
    head.say(error.message);
  }

  function askToken(message) {
    leave();
    leave = () => {};
    const field = make("input", { type: "password", id: "token", autocomplete: "off", required: true });
    const form = make("form", { className: "card token" },
      make("h1", {}, "Token"), make("p", {}, message), make("label", { htmlFor: "token" }, "Token"), field,
      make("button", { type: "submit", className: "primary" }, "Open"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      setToken(field.value.trim());
      show();
    });
    view.replaceChildren(form);
    field.focus();
  }

  function show() {
    const token = new URLSearchParams(location.hash.slice(1)).get("token");
    if (token) {
      setToken(token);
      history.replaceState(null, "", "/"); // a copied address carries no token
    }
    leave();
    head.say(null);
    view.replaceChildren();
    leave = open({ view, failed, head });
    scrollTo(0, 0);
  }

  addEventListener("hashchange", show);
  show();
}
