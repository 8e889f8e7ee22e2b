// What a person does to jobs: resume, pause, cancel, delete; one or many, and what was refused.
import { call, jobPath } from "/web/fleet/api.js";
import { make, write } from "/web/lib/dom.js";

const AT_ONCE = 8;
export const ACTIONS = [
  ["Resume", (job) => call(jobPath(job.id), {}, { method: "PATCH", body: { status: "pending" } })],
  ["Pause", (job) => call(jobPath(job.id), {}, { method: "PATCH", body: { status: "pause" } })],
  ["Cancel", (job) => call(jobPath(job.id), {}, { method: "PATCH", body: { status: "cancel" } })],
  ["Delete", (job) => call(jobPath(job.id), {}, { method: "DELETE" })],
];

/** Does `work` to each job, a few at a time. Returns a sentence on how that went. Raises what stops all of it: a missing
 * token, a server that is away. */
export async function each(jobs, work) {
  const left = [...jobs];
  const refused = [];
  const run = async () => {
    for (let job = left.shift(); job; job = left.shift()) {
      try {
        await work(job);
      } catch (error) {
        if (![404, 409, 422].includes(error.status)) {
          left.length = 0;
          throw error;
        }
        refused.push(`${job.name}: ${error.message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, run));
  const done = `${jobs.length - refused.length} of ${jobs.length} done.`;
  return refused.length ? `${done} Refused: ${refused.slice(0, 3).join("; ")}${refused.length > 3 ? "; ..." : ""}` : done;
}

/** Makes the buttons; `chosen()` returns the jobs, `after(sentence)` is called at the end. Delete asks first. */
export function makeActions(chosen, after, failed) {
  const dialog = makeQuestion();
  const buttons = ACTIONS.map(([title, work]) => make("button", {
    type: "button",
    onclick: async () => {
      const jobs = chosen();
      if (!jobs.length) return;
      if (title === "Delete" && !(await dialog.ask(jobs))) return;
      try {
        after(await each(jobs, work));
      } catch (error) {
        failed(error);
      }
    },
  }, title));
  return {
    element: make("span", { className: "actions" }, ...buttons, dialog.element),
    enable(isOn) {
      for (const button of buttons) button.disabled = !isOn;
    },
  };
}

function makeQuestion() {
  const words = make("p");
  const form = make("form", { method: "dialog" }, words,
    make("div", { className: "tools small" },
      make("button", { value: "no" }, "Keep"), make("button", { value: "yes", className: "danger" }, "Delete")));
  const element = make("dialog", { className: "card" }, form);
  return {
    element,
    ask(jobs) {
      const names = jobs.length === 1 ? jobs[0].name : `${jobs.length} cameras`;
      write(words, `Delete ${names}? The log stays, and what is stored in the stream is not touched.`);
      element.returnValue = "no";
      element.showModal();
      return new Promise((done) => {
        element.addEventListener("close", () => done(element.returnValue === "yes"), { once: true });
      });
    },
  };
}
